from __future__ import annotations

import numpy as np
import pytest
import torch

from operators.inpaint.telea import TeleaInpainter, TeleaInpainterConfig
from tests.operators.inpaint.faces import batch_of, drawn, given


@pytest.mark.parametrize("kind", ["telea", "navier_stokes"])
def test_continues_a_flat_picture(kind):
    face = drawn(64)
    face["crop"][:] = (90, 120, 30)
    result = TeleaInpainter(TeleaInpainterConfig(kind=kind))(batch_of(face)).faces["inpainted"]
    assert np.abs(result[0].astype(int) - (90, 120, 30)).max() <= 3


def test_two_kinds_differ_and_known_pixels_stay():
    face = drawn(64)
    fills = [TeleaInpainter(TeleaInpainterConfig(kind=kind)).fill(given(face)) for kind in ("telea", "navier_stokes")]
    assert not torch.equal(*fills)
    known = ~given(face).hole[0]
    assert torch.equal(fills[0][0, :, known], given(face).image[0, :, known])
