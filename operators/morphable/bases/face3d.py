"""Basel Face Model 2009 as face3d makes it (`BFM.mat`), with the statistics of the inverse-rendering regressor.

Facts of the formats: `BFM.mat` holds a struct `model` with shapeMU, shapePC (micrometres, modes not scaled), expMU, texMU,
texPC, tri (3 x triangles) and kpt_ind, which count from 1; `exp_80k.npz` expMU and expPC (the 79 modes of Guo et al. 2018);
`stats_80k.npz` mean and standard deviation of the regressor's shape, expression and texture numbers. tensorflow3DMMRendering
adds both expMU to shapeMU, and so does this.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operators.morphable.bases.assemble import assemble
from operators.morphable.bases.bfm import FULL, LICENCE, PER_DM
from operators.morphable.bases.sources import SourceFiles, expect
from operators.morphable.basis import BasisError, FaceBasis, NativeCoefficients

CONVENTION = "Inverse Rendering 3DMM: shape, expression and texture numbers of its regressor, micrometres"
_FIELDS = ("shapeMU", "shapePC", "expMU", "texMU", "texPC", "tri", "kpt_ind")


def read_face3d(files: SourceFiles, modes: tuple[int, int, int] | None = None) -> FaceBasis:
    """`bfm2009_full` whose unit-variance coefficients are the regressor's normalised ones. Errors: BasisError."""
    path, expressions, statistics = files.need("BFM.mat"), files.need("exp_80k.npz"), files.need("stats_80k.npz")
    data = _struct(path)
    mean, parts = data["shapeMU"].reshape(-1, 3).astype(np.float64) + data["expMU"].reshape(-1, 3), {}
    with np.load(expressions, allow_pickle=False) as file:
        extra, expression = file["expMU"].reshape(-1, 3), file["expPC"]
    mean = expect(path, "shapeMU", mean, (FULL, 3)) + expect(expressions, "expMU", extra, (FULL, 3))
    texture = data["texMU"].reshape(-1, 3).astype(np.float64)
    native: dict[str, np.ndarray] = {}
    sources = {"identity": ("Shape", data["shapePC"]), "expression": ("Exp", expression), "albedo": ("Tex", data["texPC"])}
    with np.load(statistics, allow_pickle=False) as file:
        for k, (part, (name, columns)) in enumerate(sources.items()):
            offset, scale = (np.asarray(file[f"{name}_Para_{what}"], np.float32).ravel() for what in ("mean", "std"))
            count = min(len(scale), modes[k]) if modes else len(scale)
            expect(path, f"modes of {part}", columns, (3 * FULL, None))
            if columns.shape[1] < count or not (scale[:count] > 0).all():
                raise BasisError(f"{statistics}: has {len(scale)} numbers of {part} for {columns.shape[1]} modes: another file")
            raw = np.ascontiguousarray(columns[:, :count].astype(np.float32).T).reshape(count, FULL, 3)
            shift = np.einsum("k,kvc->vc", offset[:count].astype(np.float64), raw)
            mean, texture = (mean, texture + shift) if part == "albedo" else (mean + shift, texture)
            parts[part] = raw * (scale[:count, None, None] / np.float32(255 if part == "albedo" else PER_DM))
            native |= {f"{part}_scale": scale[:count], f"{part}_offset": offset[:count]}
    mean = mean / PER_DM
    centre = mean.mean(0)
    marks = data["kpt_ind"].ravel().astype(np.int64) - 1
    triangles = data["tri"].T.astype(np.int64) - 1
    if len(marks) != 68 or triangles.min() < 0 or max(triangles.max(), marks.max()) >= FULL:
        raise BasisError(f"{path}: kpt_ind or tri point beyond its {FULL} vertices: another file of that name")
    return assemble(
        files.name, LICENCE, "dm", (mean - centre).astype(np.float32), parts["identity"], parts["expression"], triangles,
        np.stack((marks, marks), 1), (texture / 255).astype(np.float32), parts["albedo"],
        native=NativeCoefficients(CONVENTION, **native, origin=centre.astype(np.float32)),
    )  # fmt: skip


def _struct(path: Path) -> dict[str, np.ndarray]:
    """The fields of the struct `model`."""
    from scipy.io import loadmat

    try:
        model = loadmat(path)["model"][0, 0]
        return {name: np.asarray(model[name]) for name in _FIELDS}
    except Exception as error:  # scipy raises what it likes on a damaged file
        raise BasisError(f"{path}: is not face3d's BFM.mat (a struct `model`; {error})") from error
