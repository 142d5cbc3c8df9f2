from dataclasses import replace

import pytest
import torch

from operators.morphable import camera
from operators.morphable.appearance import AppearanceSettings
from operators.morphable.atlas import AlbedoModel
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.fit import FitSettings, fit_landmarks
from operators.morphable.landmark_cost import landmark_cost
from operators.morphable.light import frontal_light, shade, to_viewer
from operators.morphable.model import MorphableModel
from operators.morphable.photometric import PhotometricFitter, PhotometricSettings
from operators.morphable.sampled import CHUNK, Maps, Sampled, geometry_jacobian
from operators.morphable.surface import SurfaceSamples
from operators.rasterize import interpolate, select

SIZE = 128
SHARP = AppearanceSettings(noise=0.03)
STEPS = PhotometricSettings(steps=4, px=64, first=SHARP, joint=SHARP)


class Photos:
    """Shaded faces of the synthetic basis, every other one with a black bar, and noisy landmarks."""

    def __init__(self, n: int = 6, seed: int = 0, dtype: torch.dtype = torch.float32, count: int = 400):
        self.basis = synthetic_basis(rows=65, columns=65, texture_px=0, albedo=6)
        self.model = MorphableModel(self.basis, dtype=dtype)
        self.samples = SurfaceSamples(self.model, AlbedoModel(self.basis), count, 0.04)
        g = torch.Generator().manual_seed(seed)
        self.coefficients = torch.randn(n, 16, generator=g, dtype=dtype)
        self.rotation = camera.rotation_from_deg(torch.randn(n, 3, generator=g, dtype=dtype) * 8)
        self.translation = torch.tensor([[0.0, 0, 95]], dtype=dtype).repeat(n, 1)
        self.focal = torch.full((n,), 4.0 * SIZE, dtype=dtype)
        self.albedo = torch.randn(n, 6, generator=g, dtype=dtype)
        self.light = frontal_light().to(dtype) + 0.1 * torch.randn(n, 9, 1, generator=g, dtype=dtype)
        points = self.model.points("68")
        exact = self.project(points.at(self.coefficients))[..., :2]
        target = exact + 1.5 * torch.randn(exact.shape, generator=g, dtype=dtype)
        one = torch.ones(n, 68, dtype=dtype)
        settings = FitSettings(noise_px=1.5)
        self.term = landmark_cost(points, target, one, self.focal, SIZE, settings)

    def project(self, points):
        return camera.project_with_depth(camera.to_camera(points, self.rotation, self.translation), self.focal, SIZE)

    def draw(self):
        vertices = self.model.vertices(self.coefficients)
        fragments = select("numba")(self.project(vertices) * torch.tensor([2, 2, 1.0]), self.model.triangles, 2 * SIZE, 2 * SIZE)
        modes = torch.as_tensor(self.basis.albedo).movedim(0, -1)
        tint = torch.as_tensor(self.basis.albedo_mean) + torch.einsum("vck,fk->fvc", modes, self.albedo)
        colour = tint * shade(to_viewer(self.model.normals(vertices), self.rotation), self.light)
        image = interpolate(colour, fragments, self.model.triangles)
        skin = (fragments.pix_to_face >= 0).float()
        image, skin = (torch.nn.functional.avg_pool2d(x, 2).movedim(1, -1) for x in (image.movedim(-1, 1), skin[:, None]))
        skin = (skin[..., 0] > 0.99).float()
        skin[::2, 90:] = 0
        return torch.where(skin[..., None] > 0, image, torch.zeros(3)), skin

    def error(self, coefficients):
        return (self.model.vertices(coefficients) - self.model.vertices(self.coefficients)).norm(dim=-1).mean(1)

    def fitter(self, settings=STEPS):
        light = frontal_light(), torch.full((9, 3), 0.2)
        return PhotometricFitter(self.model, self.samples, select("numba"), *light, settings)

    def start(self):
        fit = fit_landmarks(self.term.points, self.term.target, self.term.weights, self.focal, SIZE, self.term.settings)
        return fit.coefficients, fit.rotation, fit.translation


@pytest.fixture(scope="module")
def photos():
    return Photos()


@pytest.fixture(scope="module")
def refined(photos):
    return photos.fitter()(*photos.draw(), photos.start(), photos.term)


def test_jacobian_is_the_derivative():
    photos = Photos(2, dtype=torch.float64, count=60)
    y, x = torch.meshgrid(*(2 * [torch.arange(SIZE, dtype=torch.float64) + 0.5]), indexing="ij")
    ramp = torch.stack((0.1 + 0.3 * x / SIZE, 0.5 * y / SIZE, 0.2 + x / 512 + y / 700), -1).repeat(2, 1, 1, 1)
    maps = Maps.of(ramp, torch.ones(2, SIZE, SIZE), 32)
    c, R, t = photos.coefficients, photos.rotation, photos.translation
    mix = torch.rand(2, len(photos.samples), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def residual(step):
        turned = camera.rotation_from_axis_angle(step[:, :3]) @ R
        moved = (c + step[:, 6:], turned, t + step[:, 3:6])
        state = Sampled.of(photos.samples, maps, moved, photos.term, photos.albedo, photos.light)
        return (mix * (state.tint * state.shading - state.colour)).sum(-1)

    zero = torch.zeros(2, 22, dtype=torch.float64)
    numeric = torch.autograd.functional.jacobian(residual, zero)
    state = Sampled.of(photos.samples, maps, (c, R, t), photos.term, photos.albedo, photos.light)
    analytic = geometry_jacobian(photos.samples, state, photos.term, mix)
    assert not analytic[..., 22:].any()
    place = photos.project(state.point)[..., :2]
    inner = ((place > 8) & (place < SIZE - 8)).all(-1)  # the slope of the photo is that of a ramp but for its rim
    assert inner.float().mean() > 0.8
    for i in range(2):
        torch.testing.assert_close(analytic[i, inner[i], :22], numeric[i, :, i][inner[i]])


def test_the_photo_improves_shape_light_and_albedo(photos, refined):
    start = photos.start()
    before, after = photos.error(start[0]), photos.error(refined.coefficients)
    assert after.mean() < 0.75 * before.mean()
    assert (refined.taken >= 1).all()
    plain = photos.fitter(replace(STEPS, steps=0))(*photos.draw(), start, photos.term)
    assert torch.equal(plain.coefficients, start[0]) and not plain.taken.any()
    assert (refined.light - photos.light).abs().mean() < 0.05


def test_pixels_that_are_not_skin_say_nothing(photos, refined):
    image, skin = photos.draw()
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(3))
    hidden = torch.nn.functional.max_pool2d(skin[:, None], 9, 1, 4)[:, 0] == 0
    other = photos.fitter()(torch.where(hidden[..., None], noise, image), skin, photos.start(), photos.term)
    assert torch.equal(other.coefficients, refined.coefficients) and torch.equal(other.albedo, refined.albedo)


def test_what_lies_behind_is_not_seen(photos):
    turned = camera.rotation_from_deg(torch.tensor([[0.0, 65, 0]])).repeat(6, 1, 1)
    seen = photos.fitter().unhidden((photos.coefficients, turned, photos.translation), photos.term)
    frontal = photos.fitter().unhidden((photos.coefficients, photos.rotation, photos.translation), photos.term)
    assert (frontal.mean(1) > 0.9).all() and (seen.mean(1) < 0.9).all()


def test_a_face_has_the_same_bits_in_any_company(photos, refined):
    image, skin = photos.draw()
    start = photos.start()
    for chosen in ([4], [5, 4, 1], [0, 1, 2, 3, 4, 5] * 3 + [4]):
        index = torch.tensor(chosen)
        again = photos.fitter()(image[index], skin[index], tuple(v[index] for v in start), photos.term[index])
        where = chosen.index(4) if len(chosen) < CHUNK else len(chosen) - 1
        for name in ("coefficients", "rotation", "translation", "albedo", "light", "inliers"):
            assert torch.equal(getattr(again, name)[where], getattr(refined, name)[4]), name


def test_no_skin_and_no_landmarks_leave_the_start(photos):
    image, skin = photos.draw()
    start = photos.start()
    lost = torch.full_like(photos.term.target, torch.nan)
    term = landmark_cost(photos.term.points, lost, photos.term.weights, photos.focal, SIZE, photos.term.settings)
    result = photos.fitter()(image, torch.zeros_like(skin), start, term)
    assert all(torch.isfinite(v).all() for v in (result.coefficients, result.rotation, result.albedo, result.light))
    assert not result.albedo.any()
    torch.testing.assert_close(result.light[0], frontal_light())


def test_no_faces(photos):
    image, skin = photos.draw()
    empty = photos.fitter()(image[:0], skin[:0], tuple(v[:0] for v in photos.start()), photos.term[:0])
    assert empty.coefficients.shape == (0, 16) and empty.light.shape == (0, 9, 3)
