"""Principal components, of mirrored data and of data with missing values."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

STRIDE = 4
"""Of many thousand texels' values, those used to find one photo's coefficients; neighbours say nearly the same."""


def principal_modes(data: Float[np.ndarray, "samples values"], count: int) -> Float[np.ndarray, "modes values"]:
    """Leading modes of centred data, each scaled by its standard deviation, by the Gram matrix (samples << values).

    A mode's sign makes its largest value positive, so that the same data give the same bytes.
    """
    samples = len(data)
    value, vector = np.linalg.eigh((data @ data.T).astype(np.float64))
    order = np.argsort(value)[::-1][:count]
    value, vector = np.maximum(value[order], 0), vector[:, order]
    keep = value > 1e-10 * max(float(value.max(initial=0)), 1e-30)
    modes = (vector[:, keep].T.astype(data.dtype) @ data) / np.sqrt(samples)
    peak = modes[np.arange(len(modes)), np.abs(modes).argmax(1)]
    return modes * np.sign(peak)[:, None]


def mirror_modes(
    data: Float[np.ndarray, "samples values"], flipped: Float[np.ndarray, "samples values"], count: int
) -> Float[np.ndarray, "modes values"]:
    """Modes of samples and their mirror images together: each is symmetric or antisymmetric, by falling variance."""
    modes = np.concatenate([principal_modes((data + flipped) / 2, count), principal_modes((data - flipped) / 2, count)])
    energy = (modes.astype(np.float64) ** 2).sum(1)
    order = np.argsort(-energy, kind="stable")[:count]
    return modes[order[energy[order] > 1e-10 * energy.max(initial=0)]]


def ridge_coefficients(
    data: Float[np.ndarray, "samples values"], modes: Float[np.ndarray, "modes values"], noise: float
) -> Float[np.ndarray, "samples modes"]:
    """Most probable coefficients (unit prior) of samples whose values all have the given noise (standard deviation)."""
    gram = modes @ modes.T + noise**2 * np.eye(len(modes), dtype=modes.dtype)
    return np.linalg.solve(gram, modes @ data.T).T


def masked_coefficients(
    data: Float[np.ndarray, "samples values"],
    weight: Float[np.ndarray, "samples values"],
    modes: Float[np.ndarray, "modes values"],
    noise: float = 0.12,
) -> Float[np.ndarray, "samples modes"]:
    """As `ridge_coefficients`, with a weight in [0, 1] per value; 0 = missing. Large samples are thinned (`STRIDE`)."""
    stride = STRIDE if data.shape[1] > 4096 else 1
    modes = np.ascontiguousarray(modes[:, ::stride])
    result = np.empty((len(data), len(modes)), data.dtype)
    prior = noise**2 * np.eye(len(modes), dtype=modes.dtype)
    for i, (sample, w) in enumerate(zip(data[:, ::stride], weight[:, ::stride], strict=True)):
        weighted = modes * w
        result[i] = np.linalg.solve(weighted @ modes.T + prior, weighted @ sample)
    return result
