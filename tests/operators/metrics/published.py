"""What the official evaluation programs say of the same pictures (pytorch-fid, lpips 0.1.4, scripts of the source papers)."""

from functools import cache

import numpy as np

from tests.conformance.fixture import FIXTURES, Fixture


@cache
def published() -> dict[str, np.ndarray]:
    return Fixture(FIXTURES / "metrics").expected
