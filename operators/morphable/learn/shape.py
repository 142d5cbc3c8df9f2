"""Identity and expression modes from landmark meshes of people, some of them seen twice.

A photo's aligned mesh is  mean + identity^T a(person) + expression^T e(photo) + noise.  Photos known to be neutral have e = 0
and anchor the mean; the same person's photo with an expression gives the expression modes; all others get their most probable
a and e, and what e explains is taken away before identity is learned again (alternating, to convergence).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from operators.morphable.learn.align import mirrored
from operators.morphable.learn.pca import mirror_modes, ridge_coefficients
from operators.morphable.subdivide import fair


@dataclass(frozen=True)
class ShapeModel:
    """Symmetric neutral mean and modes scaled by standard deviation, all flattened to (…, vertices * 3)."""

    mean: Float[np.ndarray, " values"]
    identity: Float[np.ndarray, "identity values"]
    expression: Float[np.ndarray, "expression values"]
    noise: float


def _flat(faces: np.ndarray) -> np.ndarray:
    return faces.reshape(len(faces), -1)


def _flip(flat: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    return _flat(mirrored(flat.reshape(len(flat), -1, 3), mirror))


def learn_shape(
    faces: Float[np.ndarray, "faces vertices 3"],
    person: Int[np.ndarray, " faces"],
    neutral: Bool[np.ndarray, " faces"],
    mirror: Int[np.ndarray, " vertices"],
    identities: int,
    expressions: int,
    rounds: int = 8,
) -> ShapeModel:
    """Learn from aligned meshes. `person`: equal numbers are one person. `neutral`: known to have no expression."""
    x = _flat(faces)
    pairs = _differences(x, person, neutral)
    learned = without_pose(mirror_modes(pairs, _flip(pairs, mirror), expressions), faces.mean(0))
    mean = x[neutral].mean(0)
    mean = (mean + _flip(mean[None], mirror)[0]) / 2
    own = x[neutral] - mean
    identity = mirror_modes(own, _flip(own, mirror), identities)
    noise = 0.2 * float(np.sqrt(((x - mean) ** 2).mean()))
    group = np.unique(person, return_inverse=True)[1]
    expression = learned
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


def without_pose(modes: np.ndarray, mean: np.ndarray) -> np.ndarray:
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


def merge_expressions(
    learned: Float[np.ndarray, "expression values"],
    borrowed: Float[np.ndarray, "fields values"],
    mean: Float[np.ndarray, "vertices 3"],
    mirror: Int[np.ndarray, " vertices"],
    count: int,
    activation: float = 0.3,
) -> Float[np.ndarray, "both values"]:
    """The learned modes and `count` more from displacement fields known from elsewhere, each active with the given spread.

    Pose and what the learned modes already show are taken out of the fields.
    """
    fields = without_pose(borrowed, mean)
    q = np.linalg.qr(learned.T)[0]
    fields = (fields - (fields @ q) @ q.T) * activation * np.sqrt(len(fields))
    return np.concatenate([learned, mirror_modes(fields, _flip(fields, mirror), count)])


def landmark_fields(
    displacement: Float[np.ndarray, "fields 68 3"],
    pairs: Int[np.ndarray, "68 2"],
    still: Int[np.ndarray, " still"],
    mean: Float[np.ndarray, "vertices 3"],
    triangles: Int[np.ndarray, "triangles 3"],
) -> Float[np.ndarray, "fields values"]:
    """Displacements of the 68 landmarks spread over the mesh with the least bending; `still` vertices do not move.

    `triangles` without those between the lips, which must be free to part.
    """
    known, place = np.unique(pairs.ravel(), return_index=True)
    still = np.setdiff1d(still, known)
    matrix = fair(mean, triangles, np.concatenate([known, still]))[:, : len(known)]
    given = np.repeat(displacement, 2, axis=1)[:, place]
    return np.einsum("vk,fkd->fvd", matrix, given).reshape(len(displacement), -1)


def held_out_error(
    faces: Float[np.ndarray, "faces vertices 3"],
    model: ShapeModel,
    counts: tuple[int, ...],
    eye_distance: float,
) -> dict[int, float]:
    """Mean vertex distance, in outer-eye distances, between unseen meshes and their best fit, by number of identity modes.

    All expression modes are used each time; with 0 identity modes the mean face does the rest.
    """
    x = _flat(faces) - model.mean
    result = {}
    for count in counts:
        modes = np.concatenate([model.expression, model.identity[:count]])
        left = x - ridge_coefficients(x, modes, model.noise) @ modes
        result[count] = float(np.linalg.norm(left.reshape(len(x), -1, 3), axis=2).mean() / eye_distance)
    return result


def specificity(
    faces: Float[np.ndarray, "faces vertices 3"], model: ShapeModel, count: int, eye_distance: float, samples: int = 200
) -> float:
    """Mean distance of random neutral model faces to the nearest real one (Styner 2003), in outer-eye distances."""
    rng = np.random.default_rng(0)
    modes = model.identity[:count]
    made = (model.mean + rng.standard_normal((samples, len(modes))) @ modes).reshape(samples, -1, 3)
    nearest = [np.linalg.norm(faces - face, axis=2).mean(1).min() for face in made]
    return float(np.mean(nearest) / eye_distance)
