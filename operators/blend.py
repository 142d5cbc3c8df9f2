"""Gradient-domain blending: batched membranes over masks of any shape, solved by multigrid.

A membrane u minimises  sum over neighbours (u_x - u_y)^2 + sum over pixels weight_x (u_x - pull_x)^2  inside a domain;
across the domain's border nothing pulls (Neumann) unless a weight says so. With `hold`, a known neighbour becomes a
Dirichlet value. The correction that carries a guidance picture into a photo is such a membrane (Poisson image editing,
Pérez et al. 2003, in the offset form of Farbman et al. 2009); a constant weight everywhere makes it screened Poisson
(Bhat et al. 2008).

A fixed number of steps: a face's result does not depend on the faces beside it.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from operators.threads import share

# Chebyshev weights of three Jacobi steps over the upper three quarters of the spectrum (smoothing factor 0.074)
_SMOOTHING = (0.52644, 0.8, 1.66526)


def hold(
    values: Float[Tensor, "faces channels h w"], trust: Float[Tensor, "faces h w"], domain: Bool[Tensor, "faces h w"]
) -> tuple[Float[Tensor, "faces channels h w"], Float[Tensor, "faces 1 h w"]]:
    """Source and weight that hold a membrane to `values` at the pixels next to its domain.

    `trust` in [0, 1] is the conductance to each pixel: 1 = Dirichlet, 0 = Neumann (no pull), in between = softly held.
    Trust inside the domain is ignored.
    """
    conductance = trust.masked_fill(domain, 0.0)[:, None]
    inside = domain[:, None].to(values.dtype)
    padded = functional.pad(torch.cat([conductance, conductance * values], dim=1), (1, 1, 1, 1))
    neighbours = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1] + padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    neighbours = neighbours * inside
    return neighbours[:, 1:], neighbours[:, :1]


def membrane(
    source: Float[Tensor, "faces channels h w"],
    weight: Float[Tensor, "faces 1 h w"],
    domain: Bool[Tensor, "faces h w"],
    cycles: int = 8,
    floor: float = 1e-6,
) -> Float[Tensor, "faces channels h w"]:
    """The membrane with `source = weight * pull`; zero outside the domain.

    `floor` is a weight towards 0 everywhere, so that a part of the domain that nothing holds comes out as 0.
    `cycles` multigrid V-cycles are always run; each shrinks the error about tenfold.
    """
    height, width = domain.shape[-2:]
    levels = max(1, (max(height, width) - 1).bit_length() - 1)
    step = 1 << (levels - 1)
    margin = (0, -width % step, 0, -height % step)
    inside = functional.pad(domain[:, None].to(source.dtype), margin)
    source = functional.pad(source, margin)
    if source.device.type == "cpu" and source.dtype == torch.float32:
        return _compiled(source, functional.pad(weight, margin), inside, cycles, levels, floor)[..., :height, :width]
    source = source * inside
    grids = [_Grid(inside, (functional.pad(weight, margin) + floor) * inside)]
    for _ in range(levels - 1):
        grids.append(grids[-1].coarser())
    solution = torch.zeros_like(source)
    for _ in range(cycles):
        solution = _cycle(grids, 0, solution, source)
    return solution[..., :height, :width]


def _compiled(source: Tensor, weight: Tensor, inside: Tensor, cycles: int, levels: int, floor: float) -> Tensor:
    """The same cycles in compiled loops."""
    from operators.blend_kernels import solve_faces

    out = np.empty(source.shape, np.float32)
    pulls, weights, insides = (np.ascontiguousarray(x.detach().numpy()) for x in (source, weight[:, 0], inside[:, 0]))
    steps = np.array(_SMOOTHING, np.float32)
    share(lambda i, n: solve_faces(i, n, pulls, weights, insides, cycles, levels, steps, np.float32(floor), out), len(out))
    return torch.from_numpy(out)


class _Grid:
    """One level: domain, weights and the conductances between neighbours right and below."""

    def __init__(self, inside: Tensor, weight: Tensor, right: Tensor | None = None, below: Tensor | None = None):
        self.inside, self.weight = inside, weight
        self.right = inside[..., 1:] * inside[..., :-1] if right is None else right
        self.below = inside[..., 1:, :] * inside[..., :-1, :] if below is None else below
        right_padded, below_padded = functional.pad(self.right, (1, 1)), functional.pad(self.below, (0, 0, 1, 1))
        self.diagonal = (
            weight + right_padded[..., 1:] + right_padded[..., :-1] + below_padded[..., 1:, :] + below_padded[..., :-1, :]
        )
        self.inverse = torch.where(self.diagonal > 0, 1.0 / self.diagonal.clamp_min(1e-12), torch.zeros_like(self.diagonal))

    def coarser(self) -> _Grid:
        """Cells of 2 x 2 pixels: weights add up, conductances across a cell border are averaged."""
        inside = functional.max_pool2d(self.inside, 2)
        weight = 4.0 * functional.avg_pool2d(self.weight, 2)
        right = 0.5 * (self.right[..., 0::2, 1::2] + self.right[..., 1::2, 1::2])
        below = 0.5 * (self.below[..., 1::2, 0::2] + self.below[..., 1::2, 1::2])
        return _Grid(inside, weight, right, below)

    def residual(self, solution: Tensor, source: Tensor) -> Tensor:
        result = torch.addcmul(source, self.diagonal, solution, value=-1)
        result[..., :-1].addcmul_(self.right, solution[..., 1:])
        result[..., 1:].addcmul_(self.right, solution[..., :-1])
        result[..., :-1, :].addcmul_(self.below, solution[..., 1:, :])
        result[..., 1:, :].addcmul_(self.below, solution[..., :-1, :])
        return result

    def smooth(self, solution: Tensor, source: Tensor, order: tuple[float, ...]) -> Tensor:
        for step in order:
            solution = torch.addcmul(solution, self.inverse, self.residual(solution, source), value=step)
        return solution


def _cycle(grids: list[_Grid], level: int, solution: Tensor, source: Tensor) -> Tensor:
    grid = grids[level]
    if level == len(grids) - 1:
        return grid.smooth(solution, source, _SMOOTHING * 8)
    solution = grid.smooth(solution, source, _SMOOTHING)
    coarse_source = 4.0 * functional.avg_pool2d(grid.residual(solution, source), 2)
    coarse = _cycle(grids, level + 1, torch.zeros_like(coarse_source), coarse_source)
    return grid.smooth(solution + _prolong(coarse, grids[level + 1].inside, grid.inside), source, _SMOOTHING[::-1])


def _prolong(coarse: Tensor, coarse_inside: Tensor, inside: Tensor) -> Tensor:
    """Bilinear from cell centres, over cells of the domain only."""
    both = torch.cat([coarse * coarse_inside, coarse_inside], dim=1)
    fine = functional.interpolate(both, scale_factor=2, mode="bilinear", align_corners=False)
    return fine[:, :-1] / fine[:, -1:].clamp_min(1e-6) * inside
