import numpy as np
import pytest

from operators import masks


def random_masks(seed: int, density: float = 0.2) -> np.ndarray:
    return np.random.default_rng(seed).random((3, 17, 23)) < density


def brute_dilate(mask: np.ndarray, radius: float) -> np.ndarray:
    out = np.zeros_like(mask)
    ys, xs = np.nonzero(mask)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            out[y, x] = bool(np.any((ys - y) ** 2 + (xs - x) ** 2 <= radius**2))
    return out


def brute_components(mask: np.ndarray) -> list[np.ndarray]:
    left, parts = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        stack, part = [min(left)], np.zeros_like(mask)
        left.remove(stack[0])
        while stack:
            y, x = stack.pop()
            part[y, x] = True
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            stack += near
        parts.append(part)
    return parts


@pytest.mark.parametrize("radius", [0, 1, 1.5, 2, 3.7])
def test_dilation_is_the_union_of_discs(radius):
    given = random_masks(0, 0.05)
    expected = np.stack([brute_dilate(mask, radius) for mask in given])
    assert np.array_equal(masks.dilate(given, radius), expected)


@pytest.mark.parametrize("radius", [1, 2.5])
def test_erosion_keeps_pixels_whose_disc_is_full(radius):
    given = random_masks(1, 0.9)
    expected = np.stack([~brute_dilate(~mask, radius) for mask in given])
    assert np.array_equal(masks.erode(given, radius), expected)


def test_radius_can_differ_by_face():
    given = random_masks(2, 0.05)
    together = masks.dilate(given, np.array([0.0, 1.0, 4.0]))
    for i, radius in enumerate((0.0, 1.0, 4.0)):
        assert np.array_equal(together[i], masks.dilate(given[i : i + 1], radius)[0])


def test_opening_shrinks_closing_grows_and_both_are_idempotent():
    given = random_masks(3, 0.6)
    opened, closed = masks.opening(given, 1.5), masks.closing(given, 1.5)
    assert not np.any(opened & ~given)
    assert not np.any(given & ~closed)
    assert np.array_equal(masks.opening(opened, 1.5), opened)
    assert np.array_equal(masks.closing(closed, 1.5), closed)


def test_empty_and_full_masks_stay_what_they_are():
    empty, full = np.zeros((1, 5, 5), bool), np.ones((1, 5, 5), bool)
    assert not masks.dilate(empty, 3).any()
    assert masks.erode(full, 3).all()
    assert masks.fill_holes(full).all() and not masks.fill_holes(empty).any()
    assert not masks.largest_component(empty).any()
    assert np.isnan(masks.iou(empty, empty)[0])


def test_fill_holes_fills_what_the_edge_cannot_reach():
    ring = np.zeros((1, 9, 9), bool)
    ring[0, 2:7, 2:7] = True
    ring[0, 4, 4] = False
    filled = masks.fill_holes(ring)
    assert filled[0, 4, 4] and filled.sum() == 25
    ring[0, 4, :5] = False
    assert not masks.fill_holes(ring)[0, 4, 4]


def test_components_touching_and_largest_agree_with_flood_fill():
    given, anchors = random_masks(4, 0.35), random_masks(5, 0.03)
    touching, largest = masks.components_touching(given, anchors), masks.largest_component(given)
    for i, mask in enumerate(given):
        parts = brute_components(mask)
        expected = np.any([part for part in parts if (part & anchors[i]).any()] or [np.zeros_like(mask)], axis=0)
        assert np.array_equal(touching[i], expected)
        assert largest[i].sum() == max(part.sum() for part in parts)
        assert any(np.array_equal(largest[i], part) for part in parts)


def test_component_that_shares_most():
    given, anchor = np.zeros((1, 6, 9), bool), np.zeros((1, 6, 9), bool)
    given[0, 1:3, 1:3] = given[0, 1:5, 5:8] = True
    anchor[0, 1, :6] = True
    anchor[0, 2, 1] = True
    chosen = masks.components_touching(given, anchor, most=True)
    assert chosen[0, 1, 1] and not chosen[0, 1, 5]


def test_boundary_is_what_one_erosion_removes_inside_the_picture():
    given = random_masks(6, 0.8)
    assert np.array_equal(masks.boundary(given), given & ~masks.erode(given, 1))


def test_feather_rises_from_the_outline_to_one():
    square = np.zeros((1, 21, 21), bool)
    square[0, 4:17, 4:17] = True
    soft = masks.feather(square, 4.0)
    assert soft.dtype == np.float32 and soft[0, 10, 10] == 1 and not soft[~square].any()
    assert np.all(np.diff(soft[0, 10, 3:8]) > 0)


def test_iou_counts_pixels():
    a, b = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    a[0, :2], b[0, 1:3] = True, True
    assert masks.iou(a, b)[0] == pytest.approx(4 / 12)
