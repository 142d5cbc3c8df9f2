"""The atlas covers, interpolates and mirrors; a photo unwrapped through it comes back, and what is hidden is not seen."""

import numpy as np
import pytest

from operators.morphable.uv import build_atlas, unwrap, vertex_normals
from tests.operators.morphable.meshes import grid_mesh, grid_uv

PX = 40


@pytest.fixture
def sheet():
    points, triangles = grid_mesh(9)
    uv = grid_uv(points)
    return points, triangles, uv, build_atlas(uv, triangles, PX)


def on_photo(points, size=120, scale=40.0):
    """Pixel positions of a mesh in the middle of a photo (z smaller = nearer)."""
    return points * [scale, -scale, -scale] + [size / 2, size / 2, 0]


def test_texel_centres_are_where_the_barycentrics_say(sheet):
    _, triangles, uv, atlas = sheet
    row, column = np.divmod(atlas.texels, PX)
    assert np.allclose(atlas.interpolate(uv) * PX, np.stack([column, row], 1) + 0.5)
    assert np.allclose(atlas.barycentric.sum(1), 1) and atlas.barycentric.min() > -1e-5
    assert len(atlas.texels) == 32 * 32, "0.8 of 40 texels a side"
    assert np.array_equal(atlas.corners, triangles[atlas.triangle])


def test_spread_keeps_covered_texels_and_extends_the_rim(sheet):
    *_, atlas = sheet
    values = np.arange(len(atlas.texels), dtype=float)[:, None]
    whole = atlas.spread(values)
    assert np.array_equal(whole[atlas.texels], values)
    assert whole[0, 0] == 0 and whole[-1, 0] == len(values) - 1


def test_mirrored_is_a_left_right_flip(sheet):
    *_, atlas = sheet
    flip = atlas.mirrored()
    assert np.array_equal(flip[flip], np.arange(len(flip)))
    row, column = np.divmod(atlas.texels, PX)
    assert np.array_equal(column[flip], PX - 1 - column) and np.array_equal(row[flip], row)


def test_round_trip_of_a_smooth_photo(sheet):
    points, triangles, uv, atlas = sheet
    y, x = np.mgrid[0:120, 0:120] + 0.5
    photo = np.stack([x * 2, y * 2, x + y], axis=-1).round().astype(np.uint8)
    place = on_photo(points)
    seen = unwrap(photo, place, triangles, uv, atlas)
    expected = atlas.interpolate(place)[:, :2]
    assert seen.visible.all()
    assert np.abs(seen.color[:, 0] * 255 - expected[:, 0] * 2).max() < 1.0
    assert np.abs(seen.color[:, 1] * 255 - expected[:, 1] * 2).max() < 1.0
    assert np.allclose(seen.normal, [0, 0, 1], atol=1e-6)
    assert np.allclose(seen.footprint, (80 / 32) ** 2)


def test_outside_the_photo_is_not_visible(sheet):
    points, triangles, uv, atlas = sheet
    place = on_photo(points) + np.array([50, 0, 0])
    seen = unwrap(np.full((120, 120, 3), 200, np.uint8), place, triangles, uv, atlas)
    x = atlas.interpolate(place)[:, 0]
    assert seen.visible[x < 118].all() and not seen.visible[x > 121].any()


def test_a_surface_turned_away_and_one_behind_another_are_not_visible(sheet):
    points, triangles, uv, atlas = sheet
    photo = np.full((120, 120, 3), 200, np.uint8)
    steep = np.radians(85)
    turned = np.stack([points[:, 0] * np.cos(steep), points[:, 1], -points[:, 0] * np.sin(steep)], axis=1)
    assert not unwrap(photo, on_photo(turned), triangles, uv, atlas).visible.any()
    folded = points.copy()
    folded[:, 0] = np.where(points[:, 0] > 0, -0.8 * points[:, 0], points[:, 0])
    folded[:, 2] = np.where(points[:, 0] > 0, 0.6, 0)
    left = atlas.interpolate(points)[:, 0] < -0.35
    hidden = left & (np.abs(atlas.interpolate(points)[:, 1]) < 0.9) & (atlas.interpolate(points)[:, 0] > -0.75)
    assert not unwrap(photo, on_photo(folded), triangles, uv, atlas).visible[hidden].any()


def test_normals_point_outward_for_counter_clockwise_triangles():
    points, triangles = grid_mesh(5)
    assert np.allclose(vertex_normals(points, triangles), [0, 0, 1])
