import cv2
import numpy as np
import pytest
import torch
from skimage.color import rgb2gray
from skimage.data import astronaut
from skimage.feature import canny as published

from operators import masks
from operators.edges import canny, canny_skimage, fused, grey


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Two parts of a public-domain portrait."""
    return np.stack([astronaut()[:200, 120:310], astronaut()[100:300, :190]])


def tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def test_canny_agrees_with_the_reference_implementation():
    picture = astronaut()[:256, 100:356]
    levels = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float64) / 255
    ours, theirs = canny(picture[None], 2.0), published(levels, sigma=2.0)[None]
    assert np.mean(masks.dilate(theirs, 1.5)[ours]) > 0.97 and np.mean(masks.dilate(ours, 1.5)[theirs]) > 0.97


def test_skimages_canny_on_tensors_is_skimages_on_bytes(pictures):
    hole = np.zeros(pictures.shape[:3], bool)
    hole[:, 60:150, 40:120] = True
    found = canny_skimage(tensor(pictures), 2.0, torch.from_numpy(~hole)).numpy()
    for i, picture in enumerate(pictures):
        assert np.array_equal(found[i], published(rgb2gray(picture), sigma=2.0, mask=~hole[i]))
    np.testing.assert_allclose(grey(tensor(pictures))[:, 0], rgb2gray(pictures), atol=1e-6)


def test_what_is_not_known_neither_counts_nor_has_edges(pictures):
    hole = torch.zeros(pictures.shape[:3], dtype=torch.bool)
    hole[:, 60:150, 40:120] = True
    given = tensor(pictures)
    other = torch.where(hole[:, None], torch.rand_like(given), given)
    first, second = (canny_skimage(x, 2.0, ~hole) for x in (given, other))
    assert torch.equal(first, second) and first.any()
    assert not np.any(first.numpy() & masks.dilate(hole.numpy(), 1))


def test_fused_keeps_thin_lines_where_enough_views_agree():
    votes = np.zeros((2, 40, 40), np.uint8)
    votes[0, 10:13, 5:35] = 200  # three rows that 78 % agree on
    votes[0, 25:28, 5:35] = 90
    few, many = fused(votes, 0.75), fused(votes, 0.3)
    assert few[0, 11, 8:32].all() and few[0].sum() <= 32 and not few[1].any()
    assert many[0, 26, 8:32].all() and np.array_equal(many[0, :20], few[0, :20])
    assert not fused(np.zeros_like(votes), 0.0).any()
