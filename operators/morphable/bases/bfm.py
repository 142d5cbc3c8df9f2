"""Basel Face Model 2009 (Paysan et al. 2009) with the expression basis of Guo et al. (2018).

Two cuts of its 53,490 vertices: `bfm2009_front`, the 35,709 of Deep3D (Deng et al. 2019), and `bfm2009_full`, the 53,215 that the
expression basis covers. Facts of the formats: `01_MorphableModel.mat` is in micrometres, its EV are standard deviations, its
texture 0..255; `Exp_Pca.bin` is int32 count, float32 mean (which Deep3D leaves out, and so does this), float32 modes, whose
standard deviations lie in `std_exp.txt`; the index files count from 1. Deep3D's unit is the decimetre: micrometres / 1e5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from operators.morphable.bases.assemble import assemble
from operators.morphable.bases.sources import SourceFiles, expect, read_floats, read_mat, zero_based
from operators.morphable.basis import BasisError, FaceBasis, NativeCoefficients

ALL, FULL, FRONT = 53490, 53215, 35709
LICENCE = "Basel Face Model 2009 licence: non-commercial research; not to be passed on"
DEEP3D_MODES = (80, 64, 80)
PER_DM = 1e5
_SHAPE = ("shapePC", "shapeEV", "shapeMU", "texPC", "texEV", "texMU", "tl")


def read_bfm2009(files: SourceFiles, modes: tuple[int, int, int] | None = None) -> FaceBasis:
    """`bfm2009_front` or `bfm2009_full` (by `files.name`) with that many identity, expression and albedo modes (80, 64, 80).

    Coefficients are Deep3D's own: its 80 / 64 / 80 vector fits as it is. Errors: BasisError.
    """
    wanted = modes or DEEP3D_MODES
    converted = files.get("BFM_model_front.mat", "BFM09_model_info.mat") if files.name == "bfm2009_front" else None
    if converted:
        return _converted(files.name, converted, wanted)
    model, bin_path = files.need("01_MorphableModel.mat"), files.need("Exp_Pca.bin")
    trim_path, front_path = files.need("BFM_exp_idx.mat"), files.need("BFM_front_idx.mat")
    info_path, std_path = files.need("facemodel_info.mat"), files.need("std_exp.txt")
    trim = zero_based(trim_path, "trimIndex", read_mat(trim_path, ["trimIndex"])["trimIndex"].ravel(), ALL)
    front = zero_based(front_path, "idx", read_mat(front_path, ["idx"])["idx"].ravel(), FULL)
    expect(trim_path, "trimIndex", trim, (FULL,))
    expect(front_path, "idx", front, (FRONT,))
    info = read_mat(info_path, ["tri", "keypoints"])
    landmarks = zero_based(info_path, "keypoints", info["keypoints"].ravel(), FRONT)
    expression = _expression(bin_path, std_path, wanted[1])
    data = read_mat(model, _SHAPE)
    if files.name == "bfm2009_front":
        keep, triangles = trim[front], zero_based(info_path, "tri", info["tri"], FRONT)
        expression = expression[:, front]
    else:
        keep, landmarks = trim, front[landmarks]
        place = np.full(ALL, -1)
        place[trim] = np.arange(FULL)
        triangles = place[zero_based(model, "tl", data["tl"], ALL)]
        triangles = triangles[(triangles >= 0).all(1)]
    identity = modes_of(model, "shape", data, keep, wanted[0]) / np.float32(PER_DM)
    mean = expect(model, "shapeMU", data["shapeMU"], (3 * ALL, 1)).reshape(-1, 3)[keep].astype(np.float64) / PER_DM
    albedo_mean, albedo = albedo_of(model, data, keep, wanted[2])
    return _finish(files.name, mean, identity, expression, triangles, landmarks, albedo_mean, albedo)


def albedo_of(model: Path, data: dict[str, np.ndarray], keep: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and modes of the texture on the kept vertices, in [0, 1]."""
    mean = expect(model, "texMU", data["texMU"], (3 * ALL, 1)).reshape(-1, 3)[keep]
    return mean / np.float32(255), modes_of(model, "tex", data, keep, count) / np.float32(255)


def modes_of(model: Path, part: str, data: dict[str, np.ndarray], keep: np.ndarray, count: int) -> np.ndarray:
    """The first modes of `shape` or `tex`, scaled by their standard deviation, on the kept vertices."""
    pc, ev = expect(model, f"{part}PC", data[f"{part}PC"], (3 * ALL, None)), data[f"{part}EV"].ravel()
    expect(model, f"{part}EV", ev, (pc.shape[1],))
    scaled = pc[:, :count].astype(np.float32) * ev[:count].astype(np.float32)
    return np.ascontiguousarray(scaled.T.reshape(-1, ALL, 3)[:, keep])


def _expression(path: Path, std_path: Path, count: int) -> np.ndarray:
    """Modes of `Exp_Pca.bin` in decimetres."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = np.frombuffer(file.read(4), "<i4")
    total = int(head[0]) if len(head) else 0
    if not 0 < total < 1000 or size != 4 * (1 + 3 * FULL * (total + 1)):
        raise BasisError(
            f"{path}: has {size} bytes for {total} modes of {FULL} vertices: truncated, or another file of that name"
        )
    try:
        std = np.loadtxt(std_path, ndmin=1).astype(np.float32).ravel()
    except ValueError as error:
        raise BasisError(f"{std_path}: is not a line of numbers ({error})") from error
    kept = min(count, total)
    if len(std) < kept:
        raise BasisError(f"{std_path}: has {len(std)} numbers for {total} modes: another file of that name")
    values = np.memmap(path, "<f4", "r", offset=4, shape=(total + 1, FULL, 3))[1 : 1 + kept]
    return np.asarray(values) * (std[:kept, None, None] / np.float32(PER_DM))


def _converted(name: str, path: Path, wanted: tuple[int, int, int]) -> FaceBasis:
    """What Deep3D's own conversion wrote: everything scaled, in decimetres, 35,709 vertices."""
    data = read_mat(path, ("meanshape", "meantex", "idBase", "exBase", "texBase", "tri", "keypoints"))
    mean = expect(path, "meanshape", data["meanshape"].reshape(-1, 1), (3 * FRONT, 1)).reshape(-1, 3).astype(np.float64)
    parts = []
    for part, count in zip(("idBase", "exBase", "texBase"), wanted, strict=True):
        columns = expect(path, part, data[part], (3 * FRONT, None))[:, :count].astype(np.float32)
        parts.append(np.ascontiguousarray(columns.T.reshape(-1, FRONT, 3)))
    texture = expect(path, "meantex", data["meantex"].reshape(-1, 1), (3 * FRONT, 1)).reshape(-1, 3)
    triangles = zero_based(path, "tri", data["tri"], FRONT)
    landmarks = zero_based(path, "keypoints", expect(path, "keypoints", data["keypoints"].ravel(), (68,)), FRONT)
    albedo_mean, albedo = texture / np.float32(255), parts[2] / np.float32(255)
    return _finish(name, mean, parts[0], parts[1], triangles, landmarks, albedo_mean, albedo)


def _finish(name, mean, identity, expression, triangles, landmarks, albedo_mean, albedo) -> FaceBasis:
    centre = mean.mean(0)
    counts = [len(identity), len(expression), len(albedo)]
    scale, offset = [np.ones(k, np.float32) for k in counts], [np.zeros(k, np.float32) for k in counts]
    native = NativeCoefficients(
        "Deep3DFaceRecon: identity 0:80, expression 80:144, texture 144:224; mean re-centred by its vertex mean, dm",
        scale[0], offset[0], scale[1], offset[1], scale[2], offset[2],
        np.zeros(3, np.float32) if name == "bfm2009_front" else centre.astype(np.float32),
    )  # fmt: skip
    return assemble(
        name, LICENCE, "dm", (mean - centre).astype(np.float32), identity, expression, triangles,
        np.stack((landmarks, landmarks), 1), np.asarray(albedo_mean, np.float32), albedo, native=native,
    )  # fmt: skip


def read_facefill(files: SourceFiles, modes: tuple[int, int, int] | None = None) -> FaceBasis:
    """`bfm2009_full` from the folder `3DMM_definition` of 3DFaceFill and its `shape_para_mean.npy` and `shape_para_std.npy`.

    Raw little-endian files that count from 1: float32 rows of 159,645 (mean, then modes) in micrometres, int32 3 x triangles, 68
    key points, and rows and columns of a 192 x 224 texture per vertex. Albedo is taken from `01_MorphableModel.mat` (with
    `BFM_exp_idx.mat`) when they are given, else from the shipped base.
    """
    std, offset = (np.load(files.need(f"shape_para_{k}.npy"), allow_pickle=False).astype(np.float32) for k in ("std", "mean"))
    counts, parts, base = (199, 29), [], []
    for part, most in zip(("shape", "exp"), counts, strict=True):
        path = files.need(f"3DMM_{part}_basis.dat")
        rows = read_floats(path, np.float32)
        if rows.size % (3 * FULL) or rows.size < 6 * FULL:
            raise BasisError(f"{path}: has {rows.size} numbers, not rows of {3 * FULL}: truncated, or another file of that name")
        rows = rows.reshape(-1, FULL, 3)
        base.append(rows[0].astype(np.float64))
        parts.append(rows[1 : 1 + most])
    total = sum(map(len, parts))
    if len(std) != total or len(offset) != total:
        raise BasisError(f"shape_para_std.npy has {len(std)} numbers for {total} modes: another file of that name")
    split = len(parts[0])
    spread, shift = (std[:split], std[split:]), (offset[:split], offset[split:])
    mean = sum(b + np.einsum("k,kvc->vc", s.astype(np.float64), p) for b, s, p in zip(base, shift, parts, strict=True)) / PER_DM
    keep = modes or (*counts, DEEP3D_MODES[2])
    identity, expression = (
        p[:k] * (s[:k, None, None] / np.float32(PER_DM)) for p, s, k in zip(parts, spread, keep, strict=False)
    )
    triangle_path, key_path = files.need("3DMM_tri.dat"), files.need("3DMM_keypoints.dat")
    triangles = zero_based(triangle_path, "triangles", read_floats(triangle_path, np.int32).reshape(3, -1).T, FULL)
    landmarks = zero_based(key_path, "key points", read_floats(key_path, np.int32, 68), FULL)
    uv = _facefill_uv(files, landmarks)
    albedo_mean = albedo = None
    model, trim_path = files.get("01_MorphableModel.mat"), files.get("BFM_exp_idx.mat")
    if model and trim_path:
        trim = zero_based(trim_path, "trimIndex", read_mat(trim_path, ["trimIndex"])["trimIndex"].ravel(), ALL)
        albedo_mean, albedo = albedo_of(model, read_mat(model, ("texPC", "texEV", "texMU")), trim, keep[2])
    centre = np.asarray(mean).mean(0)
    colours = 0 if albedo is None else len(albedo)
    native = NativeCoefficients(
        "3DFaceFill / 300W-LP: 199 Basel identity and 29 FaceWarehouse expression coefficients, micrometres",
        spread[0][: keep[0]], shift[0][: keep[0]], spread[1][: keep[1]], shift[1][: keep[1]],
        np.ones(colours, np.float32), np.zeros(colours, np.float32), centre.astype(np.float32),
    )  # fmt: skip
    return assemble(
        files.name, LICENCE, "dm", (mean - centre).astype(np.float32), identity, expression, triangles,
        np.stack((landmarks, landmarks), 1), albedo_mean, albedo, uv=uv, uv_triangles=None if uv is None else triangles,
        native=native,
    )  # fmt: skip


def _facefill_uv(files: SourceFiles, landmarks: np.ndarray) -> np.ndarray | None:
    """UV of `vertices_2d_u.dat` (row, from 1, of 192) and `vertices_2d_v.dat` (column of 224) on a square of 224, v down."""
    rows, columns = files.get("vertices_2d_u.dat"), files.get("vertices_2d_v.dat")
    if rows is None or columns is None:
        return None
    row, column = (read_floats(path, np.float32, FULL) - 0.5 for path in (rows, columns))
    v = (row + 16) / 224
    if v[landmarks[8]] < v[landmarks[17:27]].mean():  # chin above the brows
        v = 1 - v
    return np.clip(np.stack((column / 224, v), 1), 0, 1).astype(np.float32)
