"""Stand-in files, written once per session."""

from pathlib import Path

import numpy as np
import pytest

from tests.operators.morphable.bases import stand_ins


@pytest.fixture(scope="session")
def bfm(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("bfm")
    return folder, stand_ins.bfm_folder(folder)


@pytest.fixture(scope="session")
def flame(tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("flame")
    arrays = stand_ins.flame_arrays()
    stand_ins.write_flame(folder, arrays)
    return folder, arrays
