"""Identity and expression modes from landmark meshes of people, some of them seen twice.

A photo's aligned mesh is  mean + identity^T a(person) + expression^T e(photo) + noise.  Photos known to be neutral have e = 0
and anchor the mean; the same person's photo with an expression gives the expression modes; all others get their most probable
a and e, and what e explains is taken away before identity is learned again (alternating, to convergence).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from operators.morphable.learn.align import generalized_procrustes, mirrored, similarity
from operators.morphable.learn.pca import mirror_modes, ridge_coefficients


@dataclass(frozen=True)
class ShapeModel:
    """Symmetric neutral mean and modes scaled by standard deviation, all flattened to (…, vertices * 3)."""

    mean: Float[np.ndarray, "values"]
    identity: Float[np.ndarray, "identity values"]
    expression: Float[np.ndarray, "expression values"]
    noise: float


def align_faces(
    faces: Float[np.ndarray, "faces vertices 3"],
    mirror: Int[np.ndarray, "vertices"],
    start: Float[np.ndarray, "vertices 3"],
    rigid: Int[np.ndarray, "some"] | None = None,
) -> Float[np.ndarray, "faces vertices 3"]:
    """Landmark meshes (face frame, any scale) in the pose and size of `start`."""
    return generalized_procrustes(faces, mirror, start)[0]


def _flat(faces: np.ndarray) -> np.ndarray:
    return faces.reshape(len(faces), -1)


def _flip(flat: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    return _flat(mirrored(flat.reshape(len(flat), -1, 3), mirror))


def learn_shape(
    faces: Float[np.ndarray, "faces vertices 3"],
    person: Int[np.ndarray, "faces"],
    neutral: Bool[np.ndarray, "faces"],
    mirror: Int[np.ndarray, "vertices"],
    identities: int,
    expressions: int,
    extra_expression: Float[np.ndarray, "extra values"] | None = None,
    rounds: int = 8,
) -> ShapeModel:
    """Learn from aligned meshes. `person`: equal numbers are one person. `neutral`: known to have no expression.

    `extra_expression` (scaled by standard deviation) are modes known from elsewhere; they are used as they are.
    """
    x = _flat(faces)
    pairs = _differences(x, person, neutral)
    expression = _without_pose(mirror_modes(pairs, _flip(pairs, mirror), expressions), faces.mean(0))
    if extra_expression is not None:
        expression = np.concatenate([expression, extra_expression])
    mean = x[neutral].mean(0)
    mean = (mean + _flip(mean[None], mirror)[0]) / 2
    identity = np.zeros((0, x.shape[1]))
    noise = 0.02 * np.sqrt(((x - mean) ** 2).mean()) * 10
    first = np.unique(person, return_index=True)[1]
    group = np.searchsorted(person[first], person) if np.all(np.diff(person[first]) > 0) else person
    for _ in range(rounds):
        e = _expression_of(x, mean, identity, expression, noise, neutral)
        rest = x - e @ expression
        shape = _group_mean(rest, group)
        anchored = _group_mean(neutral[:, None].astype(float), group)[:, 0] > 0
        mean = shape[anchored].mean(0) if anchored.sum() >= 10 else shape.mean(0)
        mean = 0.5 * (mean + shape.mean(0)) if anchored.any() else mean
        mean = (mean + _flip(mean[None], mirror)[0]) / 2
        identity = mirror_modes(shape - mean, _flip(shape - mean, mirror), identities)
        a = ridge_coefficients(rest - mean, identity, noise)
        noise = float(np.sqrt(((rest - mean - a @ identity) ** 2).mean()))
    return ShapeModel(mean, identity, expression, noise)


def _differences(x: np.ndarray, person: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Each expressive photo minus the mean of its person's neutral ones."""
    rows = []
    for p in np.unique(person[~neutral]):
        mine = person == p
        if (mine & neutral).any():
            rows += list(x[mine & ~neutral] - x[mine & neutral].mean(0))
    if not rows:
        raise ValueError("no person has both a neutral and an expressive photo: expression cannot be told from identity")
    return np.array(rows)


def _without_pose(modes: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Modes with the part that a small rigid motion or scaling of the mean explains taken away."""
    p = mean - mean.mean(0)
    turns = [np.cross(axis, p).ravel() for axis in np.eye(3)]
    shifts = [np.tile(axis, len(p)) for axis in np.eye(3)]
    q = np.linalg.qr(np.array([*turns, *shifts, p.ravel()]).T)[0]
    return modes - (modes @ q) @ q.T


def _expression_of(x, mean, identity, expression, noise, neutral) -> np.ndarray:
    both = np.concatenate([expression, identity])
    coefficients = ridge_coefficients(x - mean, both, noise)[:, : len(expression)]
    coefficients[neutral] = 0
    return coefficients


def _group_mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    total = np.zeros((group.max() + 1, values.shape[1]))
    np.add.at(total, group, values)
    count = np.bincount(group, minlength=len(total))
    return total[count > 0] / count[count > 0, None]


@dataclass(frozen=True)
class ShapeReport:
    """How good a shape space is, by number of identity modes; distances in outer-eye distances."""

    modes: tuple[int, ...]
    variance: tuple[float, ...]
    held_out: tuple[float, ...]
    specificity: tuple[float, ...]
    held_out_faces: int


def alignment_of(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Similarity alignment of one or many meshes to a target; re-exported for reports."""
    return similarity(points, target)
