import torch

from operators.morphable import camera
from operators.morphable.fit import FitSettings, fit_landmarks
from operators.morphable.uncertainty import uncertainty
from tests.operators.morphable.test_fit import SIZE, Truth


def fitted(truth, weights):
    fit = fit_landmarks(truth.points, truth.target, weights, truth.focal, SIZE, FitSettings(noise_px=1.0, huber=1e9))
    return fit, uncertainty(truth.points, fit, SIZE, torch.ones_like(fit.coefficients))


def test_standard_deviations_are_those_of_the_errors():
    truth = Truth(200, noise=1.0)
    hidden = truth.points.mean[:, 1] < 0
    weights = truth.weights * (~hidden)
    fit, unsure = fitted(truth, weights)
    places = camera.project(camera.to_camera(truth.points.at(fit.coefficients), fit.rotation, fit.translation), truth.focal, SIZE)
    z = (places - truth.exact) / unsure.std_px[..., None]
    for part in (hidden, ~hidden):
        assert 0.8 < float(z[:, part].square().mean().sqrt()) < 1.25
    assert unsure.std_px[:, hidden].mean() > 3 * unsure.std_px[:, ~hidden].mean()


def test_what_is_hidden_is_a_guess():
    truth = Truth(12, noise=1.0)
    shares = [float(fitted(truth, truth.weights * seen)[1].guess.mean()) for seen in (1.0, truth.points.mean[:, 1] > 0, 0.1)]
    assert 0 < shares[0] < 0.05 < shares[2] < shares[1] < 1


def test_same_bits_in_any_company_and_nan_for_what_was_not_fitted():
    truth = Truth(9, noise=1.0)
    truth.weights[4] = 0
    whole = fitted(truth, truth.weights)[1]
    assert torch.isnan(whole.guess).tolist() == [i == 4 for i in range(9)]
    assert torch.isnan(whole.std_px[4]).all()
    truth.target, truth.weights, truth.focal = truth.target[5:7], truth.weights[5:7], truth.focal[5:7]
    part = fitted(truth, truth.weights)[1]
    assert torch.equal(part.std_px, whole.std_px[5:7]) and torch.equal(part.guess, whole.guess[5:7])
