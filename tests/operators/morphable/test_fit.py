from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from operators.morphable import camera
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.fit import FitSettings, fit_landmarks
from operators.morphable.landmark_cost import FaceState, LandmarkCost, jacobian
from operators.morphable.model import MorphableModel

SIZE = 256.0


class Truth:
    """Random faces of the synthetic basis, seen by a known camera, landmarks in pixels."""

    def __init__(self, n: int, kind: str = "68", noise: float = 0.0, turn: float = 45.0, seed: int = 0, dtype=torch.float32):
        self.model = MorphableModel(synthetic_basis(), dtype=dtype)
        self.points = self.model.points(kind)
        g = torch.Generator().manual_seed(seed)

        def rand(*shape):
            return torch.randn(*shape, generator=g, dtype=dtype)

        self.coefficients = rand(n, self.points.modes.shape[-1])
        self.angles = (torch.rand(n, 3, generator=g, dtype=dtype) * 2 - 1) * torch.tensor([25.0, turn, 20.0], dtype=dtype)
        self.rotation = camera.rotation_from_deg(self.angles)
        self.translation = torch.cat((rand(n, 2), 90 + 5 * rand(n, 1)), 1)
        self.focal = torch.full((n,), 4 * SIZE, dtype=dtype)
        self.exact = self.project(self.coefficients)
        self.target = self.exact + noise * rand(*self.exact.shape)
        self.weights = torch.ones(self.target.shape[:2], dtype=dtype)

    def project(self, coefficients):
        inside = camera.to_camera(self.points.at(coefficients), self.rotation, self.translation)
        return camera.project(inside, self.focal, SIZE)

    def fit(self, **changes):
        settings = FitSettings(**{"noise_px": 1.0, "tolerance": 1e-6, "max_steps": 40, **changes})
        return fit_landmarks(self.points, self.target, self.weights, self.focal, SIZE, settings)

    def landmark_error_px(self, fit):
        inside = camera.to_camera(self.points.at(fit.coefficients), fit.rotation, fit.translation)
        return (camera.project(inside, self.focal, SIZE) - self.exact).norm(dim=-1)

    def vertex_error(self, fit):
        """Mean distance after similarity-free Procrustes, in units of the mean face's width."""
        a, b = (self.model.vertices(c) for c in (fit.coefficients, self.coefficients))
        a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
        u, _, v = torch.linalg.svd(a.mT @ b)
        return (a @ (u @ v) - b).norm(dim=-1).mean(1) / 16


def problem(noise_px=0.7, focal_log_std=0.2, n=2):
    """A cost in float64 and a state away from its minimum; huber far out, so that the cost is smooth."""
    truth = Truth(n, noise=2.0, dtype=torch.float64)
    settings = FitSettings(noise_px=noise_px, huber=1e9, pitch_prior_deg=(5.0, 8.0), focal_log_std=focal_log_std)
    precision = torch.full_like(truth.coefficients, 1.7)
    weights = torch.linspace(0.1, 1, 68, dtype=torch.float64).expand(n, -1)
    cost = LandmarkCost(truth.points, truth.target, weights, precision, truth.focal * 1.1, SIZE, settings)
    return cost, FaceState(truth.coefficients + 0.1, truth.rotation, truth.translation, truth.focal)


def test_jacobian_is_the_derivative():
    cost, state = problem()
    zero = torch.zeros(2, state.coefficients.shape[1] + 7, dtype=torch.float64)

    def moved(step):
        return cost.residual(state.moved(step))[0]

    numeric = torch.autograd.functional.jacobian(moved, zero, strategy="forward-mode", vectorize=True)
    analytic = jacobian(cost.points, state, SIZE)
    for i in range(2):
        torch.testing.assert_close(analytic[i], numeric[i, :, :, i])
    assert torch.autograd.gradcheck(moved, zero.requires_grad_())


@pytest.mark.parametrize("focal_log_std", [0.0, 0.2])
def test_system_holds_gradient_and_gauss_newton_hessian_of_the_cost(focal_log_std):
    cost, state = problem(focal_log_std=focal_log_std)
    modes = state.coefficients.shape[1]
    zero = torch.zeros(2, modes + 7, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(cost.value(state.moved(zero)).sum(), zero)
    H, g = cost.system(state)
    if not focal_log_std:
        gradient[:, -1] = 0  # a known focal length does not move
    torch.testing.assert_close(g[:, : modes + 7], gradient / 2)
    J = jacobian(cost.points, state, SIZE) * (cost.weights.sqrt() / cost.settings.noise_px)[..., None, None]
    J = J.flatten(1, 2)
    if not focal_log_std:
        J[..., -1] = 0
    landmarks = H[:, :modes, :modes] - torch.diag_embed(cost.precision)
    torch.testing.assert_close(landmarks, (J.mT @ J)[:, :modes, :modes])
    torch.testing.assert_close(H, H.mT)
    assert (torch.linalg.eigvalsh(H) > 0).all()


@pytest.mark.parametrize(("kind", "vertex_bound"), [("68", 0.03), ("468", 0.012)])
def test_recovers_faces_from_noisy_landmarks(kind, vertex_bound):
    truth = Truth(24, kind, noise=1.0)
    fit = truth.fit()
    assert fit.ok.all() and fit.converged.all()
    assert truth.landmark_error_px(fit).mean() < 1.0
    assert (camera.deg_from_rotation(fit.rotation) - truth.angles).abs().max() < 4
    assert truth.vertex_error(fit).mean() < vertex_bound
    assert float(fit.rmse_px.mean()) == pytest.approx(2**0.5, rel=0.2)


@pytest.mark.parametrize("hidden_weight", [0.0, 0.01])
def test_half_the_points_hidden_and_wrong(hidden_weight):
    truth = Truth(24, "468", noise=1.0)
    low = truth.points.mean[:, 1] < truth.points.mean[:, 1].median()
    truth.target[:, low] += torch.tensor([0.0, -12.0])
    truth.weights[:, low] = hidden_weight
    fit = truth.fit()
    assert fit.ok.all()
    assert truth.landmark_error_px(fit)[:, ~low].mean() < 1.2
    assert (camera.deg_from_rotation(fit.rotation) - truth.angles).abs().mean() < 2
    assert truth.vertex_error(fit).mean() < 0.03


def test_exact_landmarks_and_weak_priors_give_the_truth():
    truth = Truth(8, "468", dtype=torch.float64)
    fit = truth.fit(noise_px=1e-3, huber=1e9, max_steps=100)
    assert truth.landmark_error_px(fit).max() < 1e-2
    torch.testing.assert_close(fit.coefficients, truth.coefficients, atol=2e-2, rtol=0)


def test_robust_loss_shrugs_off_outliers():
    truth = Truth(12, "468", noise=0.5)
    truth.target[:, ::12] += 60.0
    assert truth.landmark_error_px(truth.fit(huber=2.0)).mean() < 0.5 * truth.landmark_error_px(truth.fit(huber=1e6)).mean()


def test_hidden_expression_stays_at_rest():
    truth = Truth(12, "468", noise=1.0)
    strong = fit_landmarks(
        truth.points, truth.target, truth.weights * 0.01, truth.focal, SIZE, FitSettings(noise_px=3.0, min_points=1.0),
        torch.full((12,), 20.0),
    )  # fmt: skip
    expression = slice(truth.points.identity, None)
    assert strong.coefficients[:, expression].abs().max() < 0.2
    assert truth.coefficients[:, expression].abs().max() > 1


def test_result_does_not_depend_on_the_batch():
    truth = Truth(20, "68", noise=1.0)
    together = truth.fit()
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    truth.target, truth.weights = truth.target[order], truth.weights[order]
    assert torch.equal(truth.fit().coefficients, together.coefficients[order])
    for i in (0, 7):
        truth.target, truth.weights, truth.focal = (v[i : i + 1] for v in (truth.target, truth.weights, truth.focal))
        alone = truth.fit()
        assert torch.equal(alone.coefficients[0], together.coefficients[order[i]])
        assert torch.equal(alone.rotation[0], together.rotation[order[i]])
        truth = Truth(20, "68", noise=1.0)
        truth.target, truth.weights = truth.target[order], truth.weights[order]


def test_moving_the_picture_moves_only_the_pose():
    truth = Truth(6, "468", turn=20)
    first = truth.fit()
    truth.target = truth.target + torch.tensor([6.0, -4.0])
    second = truth.fit()
    assert (first.coefficients - second.coefficients).abs().max() < 0.35
    assert (camera.deg_from_rotation(first.rotation) - camera.deg_from_rotation(second.rotation)).abs().max() < 2


def spoil(truth, name):
    nan, face = float("nan"), 2
    if name == "all hidden":
        truth.weights[face] = 0
    elif name == "four points":
        truth.weights[face, 4:] = 0
    elif name == "all nan":
        truth.target[face] = nan
    elif name == "weights nan":
        truth.weights[face] = nan
    elif name == "one spot":
        truth.target[face] = 100.0
    elif name == "infinite":
        truth.target[face] = float("inf")
    elif name == "no focal":
        truth.focal[face] = 0.0
    return face


@pytest.mark.parametrize("name", ["all hidden", "four points", "all nan", "weights nan", "one spot", "infinite", "no focal"])
def test_bad_faces_are_flagged_and_touch_no_other(name):
    clean = Truth(5, noise=1.0).fit()
    truth = Truth(5, noise=1.0)
    face = spoil(truth, name)
    fit = truth.fit()
    assert not fit.ok[face] and fit.reason[face]
    assert torch.isfinite(fit.coefficients).all() and torch.isfinite(fit.rotation).all() and torch.isfinite(fit.translation).all()
    others = [i for i in range(5) if i != face]
    assert fit.ok[others].all()
    assert torch.equal(fit.coefficients[others], clean.coefficients[others])


def test_some_nan_points_are_left_out():
    truth = Truth(4, "468", noise=1.0)
    truth.target[0, :100] = float("nan")
    fit = truth.fit()
    assert fit.ok.all() and truth.landmark_error_px(fit)[0].mean() < 1.2


def test_no_faces():
    assert Truth(1).fit().ok.shape == (1,)
    truth = Truth(3)
    empty = fit_landmarks(truth.points, truth.target[:0], truth.weights[:0], truth.focal[:0], SIZE)
    assert empty.coefficients.shape == (0, 16) and empty.reason == ()


def random_faces(model, n=4):
    """Landmarks of turned faces with noise, in float64: target, weights, focal length."""
    points, g = model.points("68"), torch.Generator().manual_seed(3)
    coefficients = torch.randn(n, points.modes.shape[-1], generator=g, dtype=torch.float64)
    angles = torch.tensor([[5.0, 20, 8], [-5, -35, 0], [0, 10, -12], [3, 0, 0]], dtype=torch.float64)[:n]
    inside = camera.to_camera(
        points.at(coefficients), camera.rotation_from_deg(angles), torch.tensor([0.0, 0, 95], dtype=torch.float64).expand(n, 3)
    )
    focal = torch.full((n,), 4 * SIZE, dtype=torch.float64)
    target = camera.project(inside, focal, SIZE) + torch.randn(n, 68, 2, generator=g, dtype=torch.float64)
    return points, target, torch.ones(n, 68, dtype=torch.float64), focal


CLOSE = FitSettings(noise_px=1.0, tolerance=1e-12, max_steps=60)


def test_turning_or_scaling_the_picture_changes_nothing_else():
    points, target, weights, focal = random_faces(MorphableModel(synthetic_basis(), dtype=torch.float64))
    first = fit_landmarks(points, target, weights, focal, SIZE, CLOSE)
    turn = camera.rotation_from_deg(torch.tensor([[0.0, 0, 25]], dtype=torch.float64))[0, :2, :2]
    turned = fit_landmarks(points, (target - SIZE / 2) @ turn + SIZE / 2, weights, focal, SIZE, CLOSE)
    torch.testing.assert_close(turned.coefficients, first.coefficients, atol=1e-5, rtol=0)
    torch.testing.assert_close(turned.cost, first.cost)
    angles = [camera.deg_from_rotation(fit.rotation) for fit in (turned, first)]
    torch.testing.assert_close(
        angles[0] - angles[1], torch.tensor([[0.0, 0, 25]], dtype=torch.float64).expand(4, 3), atol=1e-4, rtol=0
    )
    large = fit_landmarks(points, 2 * target, weights, 2 * focal, 2 * SIZE, replace(CLOSE, noise_px=2.0))
    torch.testing.assert_close(large.coefficients, first.coefficients, atol=1e-6, rtol=0)


def mirrored_pairs():
    """The synthetic basis with each mode split into its symmetric and its antisymmetric part."""
    basis = synthetic_basis()
    flip = np.array([-1, 1, 1], np.float32)

    def split(modes):
        other = modes[:, basis.mirror] * flip
        return np.concatenate((modes + other, modes - other)) / 2

    return replace(basis, identity=split(basis.identity), expression=split(basis.expression))


def test_a_mirrored_photo_gives_the_mirrored_face():
    basis = mirrored_pairs()
    model = MorphableModel(basis, dtype=torch.float64)
    points, target, weights, focal = random_faces(model)
    partner = linear_sum_assignment(cdist(points.mean, points.mean * torch.tensor([-1, 1, 1])))[1]
    assert np.allclose(points.mean[partner] * torch.tensor([-1, 1, 1]), points.mean, atol=1e-5)
    assert np.array_equal(partner[partner], np.arange(68))
    first = fit_landmarks(points, target, weights, focal, SIZE, CLOSE)
    mirrored = target[:, torch.as_tensor(partner)] * torch.tensor([-1.0, 1]) + torch.tensor([SIZE, 0])
    second = fit_landmarks(points, mirrored, weights, focal, SIZE, CLOSE)
    flip = torch.tensor([-1.0, 1, 1], dtype=torch.float64)
    expected = model.vertices(first.coefficients)[:, torch.as_tensor(basis.mirror.astype(np.int64))] * flip
    torch.testing.assert_close(model.vertices(second.coefficients), expected, atol=1e-3, rtol=0)
    angles = [camera.deg_from_rotation(fit.rotation) for fit in (first, second)]
    torch.testing.assert_close(angles[1], angles[0] * torch.tensor([1.0, -1, -1]), atol=1e-3, rtol=0)
