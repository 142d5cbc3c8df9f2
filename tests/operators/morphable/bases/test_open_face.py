"""The compact file comes back as the basis it was made from, and the base that ships keeps its promises."""

import hashlib

import numpy as np
import pytest

from operators.morphable.bases import MODELS, load_basis
from operators.morphable.bases.open_face import load_open_face, save_open_face
from operators.morphable.uv import build_atlas, fold_atlas, vertex_normals
from tests.operators.morphable.meshes import grid_mesh, grid_uv

PX = 16


def small_base(path):
    points, triangles = grid_mesh(5, bump=0.3)
    points = points * 80
    mirror = np.linalg.norm((points * [-1, 1, 1])[:, None] - points[None], axis=-1).argmin(1)
    uv = grid_uv(points / 80).astype(np.float32).astype(np.float64)
    half = len(fold_atlas(build_atlas(uv, triangles, PX)).left)
    rng = np.random.default_rng(0)
    parts = {
        "mean": points,
        "identity": rng.standard_normal((3, 25, 3)),
        "expression": rng.standard_normal((2, 25, 3)),
        "triangles": triangles,
        "uv": uv,
        "mirror": mirror,
        "mouth": np.zeros(len(triangles), bool),
        "landmarks68": np.tile([3, 4], (68, 1)),
        "levels": 1,
        "texture_px": PX,
        "albedo_mean": rng.uniform(0.2, 0.8, (half, 3)),
        "albedo": rng.normal(0, 0.1, (4, half, 3)),
        "light_mean": rng.standard_normal((9, 3)),
        "light_std": np.ones((9, 3)),
    }
    save_open_face(path, **parts)
    return parts


def test_what_was_written_is_read(tmp_path):
    parts = small_base(tmp_path / "small.npz")
    basis = load_open_face(tmp_path / "small.npz")
    assert basis.name == "small" and basis.unit == "mm"
    assert np.allclose(basis.mean[:25], parts["mean"], atol=1e-4)
    assert np.allclose(basis.identity[:, :25], parts["identity"], atol=2e-3)
    assert np.allclose(basis.expression[:, :25], parts["expression"], atol=2e-3)
    atlas = build_atlas(parts["uv"], parts["triangles"], PX)
    left = atlas.texels[fold_atlas(atlas).left]
    assert np.allclose(basis.albedo_mean[left], parts["albedo_mean"], atol=1e-4)
    assert np.allclose(basis.albedo[:, left], parts["albedo"], atol=0.5 / 127 * np.abs(parts["albedo"]).max())
    assert np.array_equal(basis.light_mean, parts["light_mean"].astype(np.float32))
    assert np.array_equal(basis.landmarks68, parts["landmarks68"])
    assert len(basis.mean) == 25 + 56 and len(basis.triangles) == 32 * 4


def test_same_arrays_same_bytes(tmp_path):
    for name in ("a.npz", "b.npz"):
        small_base(tmp_path / name)
    first, second = (hashlib.sha256((tmp_path / n).read_bytes()).hexdigest() for n in ("a.npz", "b.npz"))
    assert first == second


def test_another_format_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(ValueError, match="format"):
        load_open_face(tmp_path / "other.npz")


def test_an_unknown_name_lists_the_choices(tmp_path):
    with pytest.raises(FileNotFoundError, match="open_face"):
        load_basis(tmp_path / "nothing.npz")


@pytest.fixture(scope="module")
def shipped():
    return load_basis("open_face")


def test_shipped_file_is_small():
    assert (MODELS / "open_face.npz").stat().st_size < 5e6
    assert (MODELS / "open_face.md").stat().st_size > 1000, "the model card ships beside it"


def test_shipped_shapes_agree(shipped):
    b = shipped
    n = len(b.mean)
    assert b.mean.shape == (n, 3) and b.identity.shape[1:] == (n, 3) and b.expression.shape[1:] == (n, 3)
    assert b.triangles.shape == b.uv_triangles.shape and b.triangles.min() >= 0 and b.triangles.max() == n - 1
    assert b.uv.min() >= 0 and b.uv.max() <= 1
    assert b.albedo_mean.shape == (b.texture_px**2, 3) and b.albedo.shape[1:] == b.albedo_mean.shape
    assert b.landmarks68.shape == (68, 2) and b.landmarks68.min() >= 0 and b.landmarks68.max() < 468
    assert np.array_equal(b.landmarks468, np.arange(468))
    for values in (b.mean, b.identity, b.expression, b.albedo_mean, b.albedo, b.light_mean, b.light_std):
        assert np.isfinite(values).all()


def test_shipped_face_is_symmetric(shipped):
    b = shipped
    assert np.array_equal(b.mirror[b.mirror], np.arange(len(b.mirror)))
    assert np.abs(b.mean - b.mean[b.mirror] * [-1, 1, 1]).max() < 0.05
    assert np.abs(b.uv - (b.uv[b.mirror] * [-1, 1] + [1, 0])).max() < 1e-4
    texture = b.albedo_mean.reshape(b.texture_px, b.texture_px, 3)
    assert np.abs(texture - texture[:, ::-1]).mean() < 2e-3


def test_shipped_unit_is_millimetres_and_axes_are_the_face_frame(shipped):
    b = shipped
    left, right = b.mean[33], b.mean[263]
    assert np.isclose(np.linalg.norm(left - right), 90, atol=0.5) and right[0] > 40 > -40 > left[0]
    assert b.mean[10, 1] > b.mean[152, 1] + 100, "forehead above chin"
    assert b.mean[1, 2] == pytest.approx(b.mean[:, 2].max(), abs=5), "the nose is nearest to the camera"


def test_shipped_triangles_are_wound_outward(shipped):
    b = shipped
    normal = vertex_normals(b.mean.astype(float), b.triangles)
    outward = b.mean - (b.mean.mean(0) - [0, 0, 60])
    assert ((normal * outward).sum(1) > 0).mean() > 0.97
    assert normal[10, 2] > 0 and normal[1, 2] > 0.5


def test_shipped_modes_are_scaled_by_standard_deviation(shipped):
    b = shipped
    identity = np.sqrt((b.identity**2).sum(2).mean(1))
    assert (np.diff(identity) < 0.05).all() and 0.3 < identity[0] < 5, "millimetres, falling"
    assert np.abs(b.expression).max() < 40
    assert np.abs(b.albedo).max() < 0.6


def test_shipped_albedo_reaches_dark_skin_and_eyes_are_open(shipped):
    b = shipped
    texture = b.albedo_mean.reshape(b.texture_px, b.texture_px, 3)

    def at(vertex):
        u, v = (b.uv[vertex] * b.texture_px).astype(int)
        return texture[v - 1 : v + 2, u - 1 : u + 2].mean((0, 1))

    skin = at(205)
    assert skin[0] > skin[1] > skin[2] > 0.2
    iris = texture[slice(*sorted((b.uv[[386, 374], 1] * b.texture_px).astype(int))), int(b.uv[386, 0] * b.texture_px)].min()
    assert iris < 0.55 * skin.min(), "a dark pupil is seen between the lids"
    tone = b.albedo[0].reshape(texture.shape)
    u, v = (b.uv[205] * b.texture_px).astype(int)
    assert (skin - 3 * np.abs(tone[v, u]) < 0.45).all()


def test_shipped_light_faces_the_camera(shipped):
    towards_camera = np.array([1, 0, 1, 0, 0, 0, 2, 0, 0]) @ shipped.light_mean
    assert np.allclose(towards_camera, 1, atol=0.1)
    assert (shipped.light_std > 0).all()


def test_shipped_expression_opens_and_closes_the_mouth(shipped):
    b = shipped
    gap = np.abs(b.expression[:, 13] - b.expression[:, 14])[:, 1]
    assert gap.max() > 3, "millimetres between the lips at one standard deviation"
    assert np.linalg.norm(b.mean[13] - b.mean[14]) < 3, "closed in the mean"
