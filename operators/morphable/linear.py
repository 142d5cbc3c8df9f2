"""Small batched linear systems whose result for one face does not depend on its place in the batch."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_ALIGN, _CHUNK = 16, 8
"""Columns are padded to this many floats (64 bytes): BLAS sums in another order when a matrix of the batch starts off a
64-byte boundary, and then the same face gets other last bits in another batch."""


def pad_columns(x: Float[Tensor, "*rows columns"]) -> Float[Tensor, "*rows padded"]:
    """Zero columns up to an aligned width."""
    return torch.nn.functional.pad(x, (0, -x.shape[-1] % _ALIGN))


def normal_equations(
    x: Float[Tensor, "faces rows columns"], y: Float[Tensor, "faces rows"]
) -> tuple[Float[Tensor, "faces columns columns"], Float[Tensor, "faces columns"]]:
    """x'x and x'y."""
    columns = x.shape[-1]
    x = pad_columns(x)
    right = (x.mT @ pad_columns(y[..., None]))[:, :columns, 0]
    return (x.mT @ x)[:, :columns, :columns], right


def solve_spd(
    system: Float[Tensor, "faces columns columns"], right: Float[Tensor, "faces columns"]
) -> tuple[Float[Tensor, "faces columns"], Bool[Tensor, " faces"]]:
    """Solutions of symmetric positive definite systems by Cholesky, and which succeeded (zero where one did not)."""
    columns, extra = right.shape[-1], -right.shape[-1] % _ALIGN
    if extra:
        system = torch.nn.functional.pad(system, (0, extra, 0, extra))
        system.diagonal(dim1=1, dim2=2)[:, columns:] = 1
        right = torch.nn.functional.pad(right, (0, extra))
    solved, fine = torch.empty_like(right), torch.empty(len(right), dtype=torch.bool, device=right.device)
    # A few at a time: the factors stay in the cache.
    for start in range(0, len(right), _CHUNK if right.device.type == "cpu" else max(len(right), 1)):
        rows = slice(start, start + (_CHUNK if right.device.type == "cpu" else len(right)))
        factor, failed = torch.linalg.cholesky_ex(system[rows])
        solved[rows] = torch.cholesky_solve(right[rows, :, None], factor)[..., 0]
        fine[rows] = failed == 0
    solved = solved[:, :columns]
    fine &= torch.isfinite(solved).all(-1)
    return torch.where(fine[:, None], solved, torch.zeros_like(solved)), fine
