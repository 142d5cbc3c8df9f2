"""Several photos of one person: one identity, and for each photo its own expression and camera.

The Gauss-Newton system of a person has the shape of an arrow: every photo's own unknowns are eliminated (Schur complement),
the identity is solved for the sum of what remains, then each photo's own unknowns follow. Bundle adjustment with faces for
points (Triggs et al. 2000).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def solve_shared(
    system: Float[Tensor, "photos unknowns unknowns"], right: Float[Tensor, "photos unknowns"],
    person: Int[Tensor, " photos"], identity: int,
) -> Float[Tensor, "photos unknowns"]:  # fmt: skip
    """Solution of `system` . x = `right` summed over each person's photos, which have their first `identity` unknowns in common.

    Zero for people whose system is not positive definite.
    """
    people, slot = torch.unique(person, return_inverse=True)
    mixed = system[:, identity:, :identity]
    own, failed = torch.linalg.cholesky_ex(system[:, identity:, identity:])
    carried = torch.cholesky_solve(torch.cat((mixed, right[:, identity:, None]), -1), own)
    reduced = system[:, :identity, :identity] - mixed.mT @ carried[..., :-1]
    pull = right[:, :identity] - (mixed.mT @ carried[..., -1:])[..., 0]
    total = reduced.new_zeros(len(people), identity, identity).index_add_(0, slot, reduced)
    pulls = pull.new_zeros(len(people), identity).index_add_(0, slot, pull)
    factor, bad = torch.linalg.cholesky_ex(total)
    bad = bad.index_add(0, slot, failed)
    common = torch.cholesky_solve(pulls[..., None], factor)[slot]
    solved = torch.cat((common, carried[..., -1:] - carried[..., :-1] @ common), 1)[..., 0]
    fine = (bad == 0)[slot] & torch.isfinite(solved).all(-1)
    return torch.where(fine[:, None], solved, torch.zeros_like(solved))


def with_shared(
    information: Float[Tensor, "photos unknowns unknowns"], person: Int[Tensor, " photos"], members: Int[Tensor, " people"],
    identity: int,
) -> Float[Tensor, "photos unknowns unknowns"]:  # fmt: skip
    """Information about each photo's unknowns when what its person's other photos say of the identity is added."""
    rows = torch.nonzero((members > 1)[person])[:, 0]
    if not len(rows):
        return information
    own = information[rows]
    mixed = own[:, identity:, :identity]
    factor, _ = torch.linalg.cholesky_ex(own[:, identity:, identity:])
    reduced = own[:, :identity, :identity] - mixed.mT @ torch.cholesky_solve(mixed, factor)
    people, slot = torch.unique(person[rows], return_inverse=True)
    total = reduced.new_zeros(len(people), identity, identity).index_add_(0, slot, reduced)
    own[:, :identity, :identity] += total[slot] - reduced
    information[rows] = own
    return information
