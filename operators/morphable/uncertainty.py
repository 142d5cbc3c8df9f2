"""How much of a fitted face is known, and how much is the prior's guess: the posterior covariance (Laplace approximation)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as nnf

from operators.morphable.fit import LandmarkFit
from operators.morphable.landmark_cost import CAMERA, FaceState, jacobian
from operators.morphable.model import LinearPoints


@dataclass(frozen=True)
class Uncertainty:
    """`std_px`: standard deviation of each point's place in the picture, root mean square of x and y.

    `guess`: variance of the points' places on the face that remains, as a share of what the prior alone allows: 0 = all was
    measured, 1 = the average face was put there.
    """

    std_px: Float[Tensor, "faces points"]
    guess: Float[Tensor, " faces"]


def uncertainty(points: LinearPoints, fit: LandmarkFit, size: float, precision: Float[Tensor, "faces modes"]) -> Uncertainty:
    """Posterior of `points` (any points of the basis, not only fitted ones) given a fit and the prior `precision` it used.

    It counts the landmarks' noise as the fit was told it, independent from point to point; errors that landmarks share are
    not in it. NaN where the fit is not ok.
    """
    state = FaceState(fit.coefficients, fit.rotation, fit.translation, fit.focal_px)
    n, chunk = len(fit.ok), 8 if fit.ok.device.type == "cpu" else max(len(fit.ok), 1)
    std, guess = precision.new_empty(n, len(points.mean)), precision.new_empty(n)
    for start in range(0, n, chunk):  # always as many at once: the bits of a face must not depend on its batch
        rows = torch.arange(start, start + chunk, device=fit.ok.device).clamp_max(n - 1)
        part = slice(start, start + chunk)
        some = _posterior(points, state[rows], fit.information[rows], size, precision[rows])
        std[part], guess[part] = (x[: n - start] for x in some)
    return Uncertainty(std.masked_fill(~fit.ok[:, None], torch.nan), guess.masked_fill(~fit.ok, torch.nan))


def _posterior(points, state, information, size, precision):
    width, modes = information.shape[-1], points.modes.shape[-1]
    factor, failed = torch.linalg.cholesky_ex(information)
    in_picture = nnf.pad(jacobian(points, state, size).flatten(1, 2), (0, width - modes - CAMERA))
    on_face = nnf.pad(points.modes.flatten(0, 1), (0, width - modes)).expand(len(factor), -1, -1)
    rows = torch.cat((in_picture, on_face), 1)
    variance = torch.linalg.solve_triangular(factor, rows.mT, upper=False).square().sum(1)
    count = len(points.mean)
    std = variance[:, : 2 * count].unflatten(1, (count, 2)).mean(-1).sqrt()
    prior = (points.modes.square() / precision[:, None, None]).sum((1, 2, 3))
    guess = variance[:, 2 * count :].sum(1) / prior
    return std.masked_fill(failed[:, None] != 0, torch.nan), guess.masked_fill(failed != 0, torch.nan)
