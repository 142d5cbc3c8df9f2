"""Prints: two colours by place on the cloth, pictures tiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from operators.synthesize.prints import PRINTS, printed


def _cloth(size: int = 160) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(-80, 80, size, dtype=np.float32), np.linspace(0, 160, size, dtype=np.float32))
    return np.stack((x, y), -1)


@pytest.mark.parametrize("name", PRINTS)
def test_every_print_shows_both_its_colours_and_repeats_by_seed(name: str) -> None:
    one, again, other = (printed(name, _cloth(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (160, 160, 3) and one.min() >= 0 and one.max() <= 1
    assert one.std(axis=(0, 1)).max() > 0.05
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_the_ground_can_be_chosen() -> None:
    cloth = printed("dots", _cloth(), np.random.default_rng(1), (25.5, 229.5, 25.5))
    assert (np.abs(cloth - (0.1, 0.9, 0.1)).max(-1) < 1e-3).mean() > 0.3


def test_a_picture_file_is_tiled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 255, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    path = tmp_path / "cloth.png"
    Image.fromarray(picture).save(path)
    cloth = _cloth()
    first = printed(str(path), cloth, np.random.default_rng(1))
    assert np.abs(first.mean((0, 1)) - picture.mean((0, 1)) / 255).max() < 0.1
    assert np.abs(printed(str(path), cloth + np.float32(130), np.random.default_rng(9)) - first).max() < 0.02


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="dots"):
        printed("no_such_print", _cloth(8), np.random.default_rng(0))
