import numpy as np
import pytest
import torch
from torch import nn

from operators.faces.geometry import invert_similarity, transform_points
from operators.morphable import camera
from operators.morphable.bases import load_basis
from operators.morphable.basis import BasisError
from operators.morphable.light import sh_basis, to_viewer
from operators.morphable.model import MorphableModel
from operators.networks.inverse_rendering import PARTS
from operators.regress.alignment import ffhq_alignment
from operators.regress.inverse_rendering import CONVENTION, irradiance, placed, rotation_of
from operators.regress.regressor import FaceRegressor, FaceRegressorConfig
from operators.types import OK
from tests.operators.regress.faces import CROP, photos, save_base, vectors

N = 4
COUNTS = (100, 79, 40)
ORIGIN = (0.02, -0.1, 0.05)


class Told(nn.Module):
    """In place of the network: the parameters of the row that the grey level names."""

    def __init__(self, parts):
        super().__init__()
        self.parts, self.lengths = parts, {name: values.shape[1] for name, values in parts.items()}

    def forward(self, pictures):
        row = (pictures[:, 0, 112, 112] * 255 / 20).round().long() % N
        return {name: values[row] for name, values in self.parts.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A base whose official numbers are not ours, parameters in it, and photos."""
    g = torch.Generator().manual_seed(3)
    stats = {part: (1000 * np.linspace(-1, 1, n), np.linspace(2000, 500, n)) for part, n in
             zip(("identity", "expression", "albedo"), COUNTS, strict=True)}  # fmt: skip
    path = save_base(tmp_path_factory.mktemp("base") / "base.npz", f"{CONVENTION}: its numbers", COUNTS, ORIGIN, stats)
    own = [0.5 * torch.randn(N, n, generator=g) for n in COUNTS]
    official = [values * torch.as_tensor(stats[part][1]).float() + torch.as_tensor(stats[part][0]).float()
                for part, values in zip(stats, own, strict=True)]  # fmt: skip
    angles, shift = 0.3 * torch.randn(N, 3, generator=g), 0.5 + 0.02 * torch.randn(N, 2, generator=g)
    pose = torch.cat((angles, shift, torch.full((N, 1), 4.5e-6)), 1)
    light = torch.rand(N, 9, generator=g)
    colour = torch.cat((0.8 + 0.2 * torch.rand(N, 3, generator=g), torch.zeros(N, 3)), 1)
    parts = dict(zip(PARTS, (pose, official[0], official[1], colour, light, official[2]), strict=True))
    deep3d = save_base(path.with_name("deep3d.npz"))
    batch = photos(deep3d, vectors(N, 2))
    config = FaceRegressorConfig(network="inverse_rendering", basis=str(path))
    out = FaceRegressor(config, network=Told(parts))(batch.copy()).faces
    return path, parts, own, batch, out


def vertices_of(path, own):
    return MorphableModel(load_basis(path)).vertices(torch.cat(own[:2], 1))


def test_coefficients_are_the_networks_in_standard_deviations(made):
    _, _, own, _, out = made
    assert (out["face_status"] == OK).all()
    for name, values in zip(("identity", "expression", "albedo"), own, strict=True):
        assert np.allclose(out[name], values.numpy(), atol=1e-5), name


def test_vertices_fall_where_its_orthographic_camera_puts_them(made):
    """Ours is a perspective camera of four crop sides: what cannot agree is the perspective."""
    path, parts, own, batch, out = made
    vertices = vertices_of(path, own)
    rotation = camera.rotation_from_deg(torch.as_tensor(out["rotation_deg"]))
    inside = camera.to_camera(vertices, rotation, torch.as_tensor(out["translation"]))
    found = camera.project(inside, torch.as_tensor(out["focal_px"]), CROP).numpy()
    official = placed((vertices + torch.tensor(ORIGIN)) * 1e5, parts["Pose"]).double().numpy()
    assert (out["focal_px"] == 4 * CROP).all()
    for j in range(N):
        there = ffhq_alignment(batch.frame(j), batch.faces["landmarks68_px"][j]).from_photo
        photo = transform_points(invert_similarity(there), official[j])
        expected = transform_points(batch.faces["crop_from_image"][j].astype(float), photo)
        off = np.linalg.norm(found[j] - expected, axis=1)
        size = np.ptp(expected[:, 1])
        assert np.sqrt((off**2).mean()) < 0.02 * size, j


def test_light_is_fixed_to_the_face(made):
    path, parts, own, _, out = made
    vertices = vertices_of(path, own)
    model = MorphableModel(load_basis(path))
    normals = model.normals(vertices)
    shading = sh_basis(normals) @ irradiance(parts["Illum"], parts["Color"], torch.ones(3))
    rotation = camera.rotation_from_deg(torch.as_tensor(out["rotation_deg"]))
    found = sh_basis(to_viewer(normals, rotation)) @ torch.as_tensor(out["light"])
    assert torch.allclose(found, shading, atol=1e-4)


def test_light_comes_from_where_its_angles_say():
    illumination = torch.tensor([[0.2, 0.2, 0.2, 1.0, 1.0, 1.0, 0.0, np.pi / 2, 0.0]])
    light = irradiance(illumination.float(), torch.tensor([[1.0, 1, 1, 0, 0, 0]]), torch.ones(3))
    at = torch.tensor([[[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]])
    assert torch.allclose((sh_basis(at) @ light)[0, :, 0], torch.tensor([1.2, -0.8, 0.2, 0.2]), atol=1e-6)


def test_an_offset_is_ambient_light_on_the_mean_albedo():
    colour = torch.tensor([[1.0, 1, 1, 25.5, 0, 0]])
    light = irradiance(torch.zeros(1, 9), colour, torch.tensor([0.5, 0.4, 0.3]))
    assert torch.allclose(light[0, 0] * torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.1, 0, 0]), atol=1e-6)


def test_rotation_is_the_transpose_of_euler_angles():
    pose = torch.tensor([[0.1, 0.2, 0.3, 0, 0, 1]])
    expected = [[0.9362934, 0.2896295, -0.19866933], [-0.27509585, 0.95642513, 0.0978434], [0.21835066, -0.03695702, 0.9751704]]
    assert torch.allclose(rotation_of(pose)[0], torch.tensor(expected), atol=1e-6)  # tensorflow_graphics' from_euler, transposed


def test_deep3ds_base_is_refused(made, tmp_path):
    _, parts, _, _, _ = made
    base = save_base(tmp_path / "base.npz")
    with pytest.raises(BasisError, match=r"BFM\.mat, exp_80k\.npz and stats_80k\.npz"):
        FaceRegressor(FaceRegressorConfig(network="inverse_rendering", basis=str(base)), network=Told(parts))
