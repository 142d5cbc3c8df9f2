"""Batched Levenberg-Marquardt: pose, identity and expression of many faces from their landmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from operators.morphable.landmark_cost import DEFAULT, FaceState, FitSettings, LandmarkCost, landmark_cost
from operators.morphable.linear import solve_spd
from operators.morphable.model import LinearPoints
from operators.morphable.pose import initial_pose, orthonormal, spread_px
from operators.morphable.shared_identity import solve_shared, with_shared

__all__ = ["FitSettings", "LandmarkFit", "fit_landmarks"]


@dataclass(frozen=True)
class LandmarkFit:
    """Result per face; where `ok` is False the numbers are a neutral face in front of the camera and `reason` says why.

    `information` is the inverse posterior covariance of the unknowns (see `operators.morphable.landmark_cost`) to first order
    around the solution: half the Gauss-Newton Hessian of the last step; the unit matrix where `ok` is False.
    """

    coefficients: Float[Tensor, "faces modes"]
    rotation: Float[Tensor, "faces 3 3"]
    translation: Float[Tensor, "faces 3"]
    focal_px: Float[Tensor, " faces"]
    rmse_px: Float[Tensor, " faces"]
    cost: Float[Tensor, " faces"]
    steps: Int[Tensor, " faces"]
    ok: Bool[Tensor, " faces"]
    converged: Bool[Tensor, " faces"]
    reason: tuple[str, ...]
    information: Float[Tensor, "faces unknowns unknowns"]


def fit_landmarks(
    points: LinearPoints,
    target: Float[Tensor, "faces points 2"],
    weights: Float[Tensor, "faces points"],
    focal_px: Float[Tensor, " faces"],
    size: int | float,
    settings: FitSettings = DEFAULT,
    expression_prior: Float[Tensor, " faces"] | None = None,
    person: Int[Tensor, " faces"] | None = None,
    start: FaceState | None = None,
    centre: Float[Tensor, "faces modes"] | None = None,
) -> LandmarkFit:
    """Pose and coefficients that minimise `LandmarkCost`: robust landmark residuals, Gaussian priors on the coefficients.

    `target` and `focal_px` in crop pixels; `weights` in [0, 1] per point, 0 = ignore; `expression_prior` is 1 where not given.
    Faces of the same `person` share their identity coefficients, everything else is their own; without it all are strangers.
    It begins with the mean face where that fits best, or at `start` (its focal length aside) where that costs less; NaN there
    means nothing is known of a face. `centre` are the coefficients that the priors pull towards, the mean face without it; a
    person's photos must have the same identity there.
    A face (a person) stops costing when it has converged, and its result does not depend on the others of the batch. Nothing
    raises for bad numbers: such faces come back with `ok` False. Levenberg-Marquardt with Marquardt's diagonal scaling.
    """
    n = len(target)
    cost, good, enough, spread = _usable(
        landmark_cost(points, target, weights, focal_px, float(size), settings, expression_prior, centre)
    )
    state = _start(cost, good)
    device = target.device
    good &= torch.isfinite(cost.value(state))
    person, members = _people(person, good)
    cost.precision[:, : points.identity] /= members[person][:, None]  # one prior a person

    people = len(members)
    if start is not None:
        _take_start(state, cost, start, good, person, members)
    total = _sum(cost.value(state), person, people)
    damping = total.new_full((people,), 1e-3)
    converged = torch.zeros(people, dtype=torch.bool, device=device)
    steps = torch.zeros(people, dtype=torch.long, device=device)
    shared, several = (members > 1)[person], bool((members > 1).any())
    information = torch.eye(cost.unknowns, dtype=points.mean.dtype, device=device).repeat(n, 1, 1)
    active = torch.nonzero(good)[:, 0]
    for _ in range(settings.max_steps):
        if not len(active):
            break
        who, now, here = person[active], state[active], cost[active]
        H, g = here.system(now)
        information[active] = H
        diagonal = H.diagonal(dim1=1, dim2=2)
        extra = diagonal * damping[who][:, None]
        diagonal += extra
        step = _solve(H, g, who, shared[active] if several else None, points.identity)
        gain = _sum((extra * step.square()).sum(1) - (g * step).sum(1), who, people)  # what the quadratic model promises
        trial = now.moved(step)
        value = _sum(here.value(trial), who, people)
        better = (value < total) & torch.isfinite(value)
        took = better[who]
        state.put(active[took], trial[took])
        seen = torch.zeros(people, dtype=torch.bool, device=device).index_fill_(0, who, True)
        small = gain <= settings.tolerance * total
        steps += seen
        damping = torch.where(seen, torch.where(better, damping * 0.2, damping * 8).clamp(1e-7, 1e7), damping)
        total = torch.where(seen & better, value, total)
        converged |= seen & (small | (~better & (damping > 1e3)))
        active = active[~converged[who]]

    information = with_shared(information, person, members, points.identity)
    residual, behind = cost.residual(state)
    squares = (cost.weights * residual.square().sum(-1)).sum(1) / cost.weights.sum(1).clamp_min(1e-12)
    ok = good & ~behind & torch.isfinite(squares)
    reason = tuple(
        "" if fine else _reason(bool(many), float(wide), size)
        for fine, many, wide in zip(ok.tolist(), enough.tolist(), spread.tolist(), strict=True)
    )
    rmse = torch.where(ok, squares.sqrt(), torch.full_like(squares, float("inf")))
    return LandmarkFit(
        state.coefficients, orthonormal(state.rotation), state.translation, state.focal_px,
        rmse, total[person], steps[person], ok, converged[person] & ok, reason, information,
    )  # fmt: skip


def _people(person: Int[Tensor, " faces"] | None, good: Bool[Tensor, " faces"]) -> tuple[Tensor, Tensor]:
    """The number of each face's person, and how many faces each has; a face that cannot be fitted is nobody's photo."""
    own = torch.arange(len(good), device=good.device)
    if person is None or not len(own):
        return own, torch.ones_like(own)
    known = torch.where(good, person, person.min() - 1 - own)
    _, number, members = torch.unique(known, return_inverse=True, return_counts=True)
    return number, members


def _usable(cost: LandmarkCost) -> tuple[LandmarkCost, Tensor, Tensor, Tensor]:
    """The cost with a focal length for every face, which faces can be fitted at all, and why not."""
    enough = cost.weights.sum(1) >= cost.settings.min_points
    spread = spread_px(cost.target, cost.weights)
    good = enough & (spread > 0.02 * cost.size) & torch.isfinite(cost.focal_px) & (cost.focal_px > 0)
    focal = torch.where(good, cost.focal_px, torch.full_like(cost.focal_px, cost.size))
    return replace(cost, focal_px=focal), good, enough, spread


def _start(cost: LandmarkCost, good: Bool[Tensor, " faces"]) -> FaceState:
    """The mean face where it fits best; unusable faces stand in front of the camera."""
    n, points = len(good), cost.points
    focal = cost.focal_px.clone()
    rotation = torch.eye(3, dtype=focal.dtype, device=focal.device).repeat(n, 1, 1)
    radius = (points.mean - points.mean.mean(0)).square().sum(-1).mean().sqrt()
    ahead = torch.stack((torch.zeros_like(focal), torch.zeros_like(focal), 10 * radius * focal / cost.size), 1)
    state = FaceState(focal.new_zeros(n, points.modes.shape[-1]), rotation, ahead, focal)
    rows = torch.nonzero(good)[:, 0]
    if len(rows):
        # Landmarks of little weight may be all that says how far away the face is, but never those that are missing.
        w = torch.where(cost.weights > 0, cost.weights.clamp_min(0.02), cost.weights)[rows]
        rotation[rows], ahead[rows] = initial_pose(points, cost.target[rows], w, focal[rows], cost.size)
    return state


def _take_start(
    state: FaceState, cost: LandmarkCost, start: FaceState, good: Bool[Tensor, " faces"], person: Tensor, members: Tensor
) -> None:
    """Begin at `start`, each person with one identity, where that costs the person less than the mean face."""
    identity, people = cost.points.identity, len(members)
    own = start.coefficients[:, :identity]
    mean = own.new_zeros(people, identity).index_add_(0, person, own) / members[:, None]
    coefficients = torch.cat((mean[person], start.coefficients[:, identity:]), 1)
    told = FaceState(coefficients, start.rotation, start.translation, state.focal_px)
    before, after = (_sum(cost.value(at), person, people) for at in (state, told))
    rows = torch.nonzero((after < before)[person] & good)[:, 0]
    state.put(rows, told[rows])


def _solve(H, g, person, shared, identity):
    """The step of every face; those in `shared` have an identity in common with others of their person."""
    if shared is None:
        return -solve_spd(H, g)[0]
    step = torch.zeros_like(g)
    step[~shared] = -solve_spd(H[~shared], g[~shared])[0]
    step[shared] = -solve_shared(H[shared], g[shared], person[shared], identity)
    return step


def _sum(values: Float[Tensor, " faces"], person: Int[Tensor, " faces"], people: int) -> Float[Tensor, " people"]:
    return values.new_zeros(people).index_add_(0, person, values)


def _reason(enough: bool, spread: float, size: int | float) -> str:
    if not enough:
        return "too few usable landmarks: most are hidden, outside the picture or not finite"
    if not spread > 0.02 * size:
        return f"landmarks span only {spread:.1f} px: the face is too small or collapsed"
    return "no face in front of the camera explains these landmarks"
