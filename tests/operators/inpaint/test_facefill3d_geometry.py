import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.special import sph_harm_y
from torch.nn import functional

from operators.inpaint.facefill3d import over
from operators.inpaint.facefill3d_geometry import UvAtlas, draw, full_precision, normals, posed, rotation_xyz, sample, shade
from operators.networks.facefill3d_definition import FaceDefinition
from operators.networks.facefill3d_drawn import drawn_definition
from operators.rasterize import select
from tests.conformance.formula import sym
from tests.official import facefill3d as official

MODES = 5


@pytest.fixture(scope="module")
def face():
    return FaceDefinition(drawn_definition(65, 81, (3, 2)))


def pose(angles=(0.0, 0.0, 0.0), moved=(0.0, 0.0)):
    """The encoder's numbers: right angles and half pictures."""
    return torch.tensor([[*angles, *moved]])


def seen(face, angles=(0.0, 0.0, 0.0), moved=(0.0, 0.0), scale=1e-3):
    return posed(face, torch.zeros(1, MODES), torch.tensor([scale]), pose(angles, moved))


def test_angles_turn_about_x_then_y_then_z_of_the_turned_face():
    angles = torch.tensor([[0.3, -0.5, 0.7], [-1.0, 0.2, 0.1]])
    expected = Rotation.from_euler("XYZ", angles.numpy()).as_matrix()
    np.testing.assert_allclose(rotation_xyz(angles).numpy(), expected, atol=1e-6)


def test_a_vertex_at_height_y_lies_in_row_224_minus_y_minus_1(face):
    angles, moved, scale = (0.2, -0.3, 0.1), (0.1, -0.2), 9e-4
    got = seen(face, angles, moved, scale).vertices_px[0]
    turned = face.mean.numpy() @ Rotation.from_euler("XYZ", np.array(angles) * math.pi / 2).as_matrix().T * scale
    x, y = turned[:, 0] + (moved[0] + 1) / 2 * 224, turned[:, 1] + (moved[1] + 1) / 2 * 224
    np.testing.assert_allclose(got[:, 0] - 0.5, x, atol=1e-3)  # ours count from a pixel's corner, theirs from its centre
    np.testing.assert_allclose(got[:, 1] - 0.5, 224 - y - 1, atol=1e-3)
    np.testing.assert_allclose(got[:, 2], turned[:, 2].max() - turned[:, 2] + 1, atol=1e-3)


def test_a_face_that_turns_shows_one_side_and_hides_the_other(face):
    left, right = face.mean[:, 0] < -40e3, face.mean[:, 0] > 40e3
    straight, turned = seen(face), seen(face, (0.0, 0.6, 0.0))
    assert straight.towards.float().mean() > 0.95
    assert turned.towards[0, left].all() and turned.towards[0, right].float().mean() < 0.5
    nose = int(face.mean[:, 2].argmax())
    assert turned.vertices_px[0, nose, 0] > straight.vertices_px[0, nose, 0] + 20
    assert turned.vertices_px[0, :, 2].min() == 1


def test_normals_are_those_of_a_sphere():
    arrays = drawn_definition(65, 81, (1, 1))
    arrays["3DMM_shape_basis.dat"][0] = (
        torch.nn.functional.normalize(arrays["3DMM_shape_basis.dat"][0].reshape(-1, 3), dim=1).flatten() * 1e5
    )
    arrays["shape_para_mean.npy"] *= 0
    ball = FaceDefinition(arrays)
    inner = (ball.mean[:, :2].abs() < 6e4).all(1)
    found = normals(ball, ball.mean[None])[0, inner]
    assert (found * ball.mean[inner] / 1e5).sum(1).min() > 0.999


def test_light_is_the_published_spherical_harmonics():
    random = np.random.default_rng(0)
    direction = random.normal(size=(20, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    x, y, z = direction.T
    polar, azimuth = np.arccos(z), np.arctan2(y, x)

    def real(degree, order):
        value = sph_harm_y(degree, abs(order), polar, azimuth)
        if order == 0:
            return value.real
        return math.sqrt(2) * (-1) ** order * (value.imag if order < 0 else value.real)

    matte = {0: 1.0, 1: 2 * math.pi / 3, 2: math.pi / 4}  # the published code leaves the constant band's pi out
    order = ((0, 0), (1, 0), (1, -1), (1, 1), (2, 0), (2, -1), (2, 1), (2, -2), (2, 2))
    bands = np.stack([matte[degree] * real(degree, m) for degree, m in order])
    light = torch.tensor(random.normal(size=(1, 27)), dtype=torch.float32)
    expected = light[0].numpy().reshape(3, 9) @ bands
    got = shade(light, torch.tensor(direction.T, dtype=torch.float32)[None, :, :, None])[0, :, :, 0]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_uv_pictures_are_symmetric_about_column_127_and_a_half(face):
    atlas = UvAtlas(face)
    across = atlas.unwrap(face.mean[None])[0, 0]
    assert across.shape == (192, 256)
    assert torch.equal(atlas.mapped, atlas.mapped.flip(1))
    assert (across + across.flip(1)).abs().max() < 0.03 * across.max()  # a texel is as wide as a triangle


def test_a_texel_is_the_mean_of_its_visible_corners(face):
    atlas, values = UvAtlas(face), torch.rand(1, len(face.mean), 2)
    counts = torch.rand(1, len(face.mean)) < 0.5
    got = atlas.unwrap(values, counts)
    row, column = 80, 100
    corners = face.triangles[face.texel_triangle[row, column]]
    kept = corners[counts[0, corners]]
    torch.testing.assert_close(got[0, :, row, column], values[0, kept].mean(0) if len(kept) else torch.zeros(2))
    assert (got[..., ~atlas.mapped] == 0).all()


def test_drawn_unwrapped_and_drawn_again_is_the_same_picture(face):
    atlas, rasterizer = UvAtlas(face), select("numba", perspective=False, cull_backfaces=True)
    at = seen(face, (0.1, 0.3, -0.1), (0.05, -0.1), 1e-3)
    u, v = (atlas.grid[:, k] for k in (0, 1))
    colours = torch.stack((0.5 + 0.3 * torch.sin(3 * u), 0.5 + 0.3 * torch.cos(4 * v), 0.4 + 0.3 * u * v), 1)[None]
    picture, shown = draw(colours, at.towards, at.vertices_px, face, rasterizer, 224, 224)
    assert 0.2 < shown.float().mean() < 0.8
    weights = shown[:, None].float()
    values = sample(torch.cat((picture * weights, weights), 1), at.vertices_px)
    found = values[..., :3] / values[..., 3:].clamp_min(1e-3)
    sure = at.towards & (values[..., 3] > 0.5)
    off = (found - colours)[sure].abs()
    assert off.mean() < 0.005 and off.max() < 0.06  # most at the silhouette, where a pixel is many triangles
    texture = atlas.unwrap(found, sure.float())
    again, shown_again = draw(atlas.wrap(texture), sure, at.vertices_px, face, rasterizer, 224, 224)
    both = shown & shown_again
    assert both.sum() > 0.97 * shown.sum()
    difference = (again - picture).abs().amax(1)[both]
    assert difference.mean() < 0.004 and difference.quantile(0.99) < 0.05


def test_geometry_stays_in_full_precision_under_autocast(face):
    plain = seen(face, (0.1, 0.2, 0.3)).vertices_px
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(seen(face, (0.1, 0.2, 0.3)).vertices_px, plain)
        assert full_precision(lambda x: x @ x)(torch.ones(2, 2, dtype=torch.bfloat16)).dtype == torch.float32


OFFICIAL = Path(__file__).parent / "official" / "facefill3d_geometry.npz"
"""What rendering.py of human-analysis/3dfacefill@1f85d72 gives for one face of tests.official.facefill3d, with its CUDA z-buffer
stated again as a plain loop. Inputs are in it, but for the picture, the hole and the colours, which are below.
"""


@pytest.fixture(scope="module")
def published():
    with np.load(OFFICIAL, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    face = FaceDefinition(official.definition())
    return arrays, face, posed(face, arrays["shape"], arrays["scale"], arrays["pose"])


def test_pose_normals_and_shade_are_the_published_ones(published):
    arrays, face, at = published
    columns, heights = arrays["vertices"][..., 0], arrays["vertices"][..., 1]
    torch.testing.assert_close(at.vertices_px[..., 0] - 0.5, columns, atol=1e-4, rtol=0)
    torch.testing.assert_close(at.vertices_px[..., 1] - 0.5, 224 - heights - 1, atol=1e-4, rtol=0)
    torch.testing.assert_close(at.normals, arrays["normals"], atol=1e-5, rtol=0)
    atlas = UvAtlas(face)
    shading = shade(arrays["light"], atlas.unwrap(at.normals)) * atlas.mapped
    torch.testing.assert_close(shading[:, :, ::3, ::3], arrays["shade"], atol=1e-5, rtol=0)


def test_the_photo_in_uv_space_is_the_published_one(published):
    arrays, face, at = published
    picture = functional.interpolate(sym("facefill3d/geometry/img", (1, 3, 14, 14)), (224, 224), mode="bilinear")
    known = torch.ones(1, 1, 224, 224)
    known[..., 100:170, 90:180] = 0
    atlas, counts = UvAtlas(face), arrays["vertex_mask"] > 0
    assert torch.equal(counts, at.towards & over(at.vertices_px, 224, 224))
    texture = atlas.unwrap(sample(picture, at.vertices_px), counts)[:, :, ::3, ::3]
    there = arrays["texture_mask"][:, None].expand_as(texture)
    torch.testing.assert_close(texture[there], arrays["texture"][there], atol=1e-5, rtol=0)
    share = atlas.unwrap(sample(known, at.vertices_px), counts)
    assert torch.equal(share[:, :, ::3, ::3] >= 0.5, arrays["visible"])


def test_the_drawing_is_the_published_one_but_for_its_faults(published):
    arrays, face, at = published
    rows, columns = torch.arange(192.0)[:, None], torch.arange(256.0)
    texture = torch.stack([0.5 * torch.sin(rows / 40 + k) + 0.4 * torch.cos(columns / (30 + 5 * k)) for k in range(3)])[None]
    rasterizer = select("numba", perspective=False, cull_backfaces=True)
    counts = arrays["vertex_mask"] > 0
    drawn, shown = draw(UvAtlas(face).wrap(texture), counts, at.vertices_px, face, rasterizer, 224, 224)
    drawn, shown, theirs = drawn[:, :, ::3, ::3], shown[:, ::3, ::3], arrays["drawn_mask"]
    assert (shown != theirs).sum() <= 2 and theirs.sum() > 1500
    off = (drawn - arrays["drawn"]).abs().amax(1)[shown & theirs]
    assert (off < 1e-3).float().mean() > 0.95  # their median filter puts some pixels at edges into the wrong triangle
