"""Files of the formats and dimensions that users must obtain, with made-up numbers: a height field in the canonical face's shape.

Mode counts are small (stated per writer) so that a test takes a second; vertex counts are the real ones.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from scipy.io import savemat
from scipy.spatial import KDTree

from operators.faces.canonical import canonical_mesh
from operators.faces.ibug68 import VERTICES


@dataclass(frozen=True)
class Sheet:
    """A mesh of exactly `n` vertices in centimetres, mirror-symmetric but for the last row, and its landmarks."""

    vertices: np.ndarray
    triangles: np.ndarray
    landmarks: np.ndarray
    mesh: np.ndarray
    """Where the 468 face-mesh points truly lie (cm)."""


HALF_CM = 11.3, 14.1
"""Half axes of the sheet's ellipse: wide enough that the 35,709 innermost of 53,490 vertices hold the whole face."""


@lru_cache(maxsize=8)
def sheet(n: int) -> Sheet:
    """The n innermost grid points of an ellipse around the canonical face, with its depth."""
    face = canonical_mesh() * [1.0, -1.0, -1.0]
    half = HALF_CM
    step = np.sqrt(np.pi * half[0] * half[1] / (1.06 * n))
    columns, rows = int(half[0] // step), int(half[1] // step)
    x, y = np.meshgrid(np.arange(-columns, columns + 1) * step, np.arange(rows, -rows - 1, -1) * step)
    far = np.hypot(x / half[0], y / half[1])
    chosen = np.sort(np.argsort(far.ravel(), kind="stable")[:n])
    x, y = x.ravel()[chosen], y.ravel()[chosen]
    z = LinearNDInterpolator(face[:, :2], face[:, 2])(x, y)
    outside = np.isnan(z)
    edge = NearestNDInterpolator(face[:, :2], np.arange(468))(x[outside], y[outside]).astype(int)
    away = np.hypot(x[outside] - face[edge, 0], y[outside] - face[edge, 1])
    z[outside] = face[edge, 2] - 1.2 * away
    place = np.full(far.size, -1)
    place[chosen] = np.arange(n)
    grid = place.reshape(far.shape)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    both = np.concatenate([np.stack([v.ravel() for v in t], 1) for t in ((a, c, b), (b, c, d))])
    vertices = np.stack((x, y, z), 1)
    triangles = both[(both >= 0).all(1)]
    landmarks = KDTree(vertices[np.unique(triangles)]).query(face[np.array(VERTICES)].mean(1))[1]
    return Sheet(vertices, triangles, np.unique(triangles)[landmarks], face)


def smooth_modes(vertices: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, vertices, 3): low waves over the sheet, of about unit size."""
    rng = np.random.default_rng(seed)
    x, y = (vertices[:, :2] / 12).T
    waves = np.stack([np.cos(np.pi * (i * x + p)) * np.cos(np.pi * (j * y + q)) for i in (0, 1, 2) for j in (0, 1, 2)
                      for p, q in [rng.uniform(0, 2, 2)]])  # fmt: skip
    return np.einsum("kwc,wn->knc", rng.normal(0, 0.5, (count, len(waves), 3)), waves)


ALL, FULL, FRONT = 53490, 53215, 35709


def bfm_folder(folder: Path, modes: int = 4) -> dict[str, np.ndarray]:
    """`01_MorphableModel.mat`, `Exp_Pca.bin` and Deep3D's tables, with `modes` of the 199 / 79 / 199 modes; and the truth.

    The inner cuts are the innermost vertices, in another order than the file's. Truth is in decimetres.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    whole = sheet(ALL)
    far = np.hypot(whole.vertices[:, 0] / HALF_CM[0], whole.vertices[:, 1] / HALF_CM[1])
    inner = np.argsort(far, kind="stable")
    trim = np.sort(inner[:FULL])
    rank = np.argsort(far[trim], kind="stable")[:FRONT]
    front = rng.permutation(rank)
    place = np.full(ALL, -1)
    place[trim[front]] = np.arange(FRONT)
    triangles = place[whole.triangles]
    triangles = triangles[(triangles >= 0).all(1)]
    keypoints = place[whole.landmarks]
    outside = keypoints < 0
    keypoints[outside] = KDTree(whole.vertices[trim[front]]).query(whole.vertices[whole.landmarks[outside]])[1]
    shape, texture = smooth_modes(whole.vertices, modes, 2), smooth_modes(whole.vertices, modes, 3)
    expression = smooth_modes(whole.vertices[trim], modes, 4)
    ev, tex_ev, exp_ev = (np.linspace(9e5, 2e5, modes), np.linspace(3000, 900, modes), np.linspace(4e5, 1e5, modes))
    columns = lambda x: x.reshape(modes, -1).T.astype(np.float32)  # noqa: E731
    savemat(
        folder / "01_MorphableModel.mat",
        {
            "shapeMU": (whole.vertices * 1e4).reshape(-1, 1).astype(np.float32), "shapePC": columns(shape) * 3e-3,
            "shapeEV": ev[:, None].astype(np.float32), "texMU": np.full((3 * ALL, 1), 140, np.float32),
            "texPC": columns(texture) * 3e-3, "texEV": tex_ev[:, None].astype(np.float32),
            "tl": (whole.triangles + 1)[:, ::-1].astype(np.float64),
        },
    )  # fmt: skip
    with (folder / "Exp_Pca.bin").open("wb") as file:
        np.array([modes], "<i4").tofile(file)
        rng.normal(size=3 * FULL).astype("<f4").tofile(file)
        (expression * 3e-3).astype("<f4").tofile(file)
    (folder / "std_exp.txt").write_text(" ".join(f"{v:.6g}" for v in exp_ev))
    savemat(folder / "BFM_exp_idx.mat", {"trimIndex": (trim + 1)[:, None].astype(np.uint16)})
    savemat(folder / "BFM_front_idx.mat", {"idx": (front + 1)[:, None].astype(np.float32)})
    savemat(
        folder / "facemodel_info.mat",
        {"tri": (triangles + 1).astype(np.float32), "keypoints": (keypoints + 1)[None].astype(np.float32)},
    )
    return {
        "mean": whole.vertices / 10, "identity": shape * 3e-8 * ev[:, None, None], "trim": trim, "front": front,
        "expression": expression * 3e-8 * exp_ev[:, None, None], "albedo": texture * 3e-3 / 255 * tex_ev[:, None, None],
        "triangles": triangles, "keypoints": keypoints, "mesh": whole.mesh / 10,
    }  # fmt: skip


def front_mat(path: Path, truth: dict[str, np.ndarray]) -> None:
    """`BFM_model_front.mat` / `BFM09_model_info.mat` as Deep3D's conversion writes it, from the same truth."""
    keep = truth["trim"][truth["front"]]
    columns = lambda x: x.reshape(len(x), -1).T  # noqa: E731
    savemat(
        path,
        {
            "meanshape": truth["mean"][keep].reshape(1, -1), "meantex": np.full((1, 3 * FRONT), 140.0, np.float32),
            "idBase": columns(truth["identity"][:, keep]), "exBase": columns(truth["expression"][:, truth["front"]]),
            "texBase": columns(truth["albedo"][:, keep]) * 255, "tri": truth["triangles"] + 1,
            "point_buf": np.ones((FRONT, 8)), "tri_mask2": truth["triangles"][:5] + 1, "keypoints": truth["keypoints"][None] + 1,
            "frontmask2_idx": np.ones((5, 1)), "skinmask": np.ones((1, FRONT)),
        },
    )  # fmt: skip


def facefill_folder(folder: Path, modes: tuple[int, int] = (3, 2)) -> dict[str, np.ndarray]:
    """3DFaceFill's raw files for 53,215 vertices with `modes` of the 199 and 29 modes; truth in dm, before re-centring."""
    folder.mkdir(parents=True, exist_ok=True)
    full = sheet(FULL)
    um = full.vertices * 1e4
    shape, expression = smooth_modes(full.vertices, modes[0], 5) * 0.01, smooth_modes(full.vertices, modes[1], 6) * 1000
    std, shift = np.array([5e5, 3e5, 2e5, 1.5, 1.0], np.float32), np.array([1e5, -5e4, 2e4, 0.5, -0.3], np.float32)
    for name, mean, parts in (("shape", um, shape), ("exp", 0 * um, expression)):
        rows = np.concatenate((mean[None], parts)).astype("<f4")
        rows.tofile(folder / f"3DMM_{name}_basis.dat")
    (full.triangles.T + 1).astype("<i4").tofile(folder / "3DMM_tri.dat")
    (full.landmarks + 1).astype("<i4").tofile(folder / "3DMM_keypoints.dat")
    np.save(folder / "shape_para_std.npy", std)
    np.save(folder / "shape_para_mean.npy", shift)
    both = np.concatenate((shape, expression))
    low, high = full.vertices[:, :2].min(0), full.vertices[:, :2].max(0)
    unit = (full.vertices[:, :2] - low) / (high - low)
    ((1 - unit[:, 1]) * 190 + 1).astype("<f4").tofile(folder / "vertices_2d_u.dat")
    (unit[:, 0] * 222 + 1).astype("<f4").tofile(folder / "vertices_2d_v.dat")
    mean = (um + np.einsum("k,kvc->vc", shift, both)) / 1e5
    return {"mean": mean, "modes": both * std[:, None, None] / 1e5, "um": um, "both": both, "std": std, "shift": shift}


FLAME_VERTICES = 5023


def flame_arrays() -> dict[str, np.ndarray]:
    """FLAME's arrays (300 + 100 modes, 5 joints) on a sheet of 5,023 vertices, in metres; jaw weights fall off below the nose."""
    face = sheet(FLAME_VERTICES)
    v = face.vertices / 100
    rng = np.random.default_rng(7)
    few = smooth_modes(face.vertices, 8, 8) * 1e-3
    mix = rng.normal(0, 1, (400, 8)) * np.concatenate((np.linspace(1, 0.05, 300), np.linspace(0.6, 0.03, 100)))[:, None]
    jaw = np.clip((-0.02 - v[:, 1]) / 0.05, 0, 1)
    weights = np.zeros((FLAME_VERTICES, 5))
    weights[:, 2], weights[:, 1] = jaw, 1 - jaw
    regressor = np.zeros((5, FLAME_VERTICES))
    regressor[:, rng.integers(0, FLAME_VERTICES, 40)] = 1 / 40
    regressor[2] = 0
    regressor[2, np.argsort(np.hypot(np.abs(v[:, 0]) - 0.07, v[:, 1] + 0.01))[:10]] = 0.1
    parents = np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], np.uint32)
    return {
        "v_template": v, "shapedirs": np.einsum("km,mvc->vck", mix, few).astype(np.float32),
        "posedirs": rng.normal(0, 1e-4, (FLAME_VERTICES, 3, 36)).astype(np.float32), "J_regressor": regressor,
        "weights": weights, "kintree_table": parents, "f": face.triangles.astype(np.uint32),
    }  # fmt: skip


def write_pickle(path: Path, value: object, chumpy: tuple[str, ...] = ()) -> None:
    """A protocol-2 pickle in which the named arrays are `chumpy.ch.Ch` objects and sparse matrices are scipy's."""

    class Ch:
        def __init__(self, x: np.ndarray):
            self.x = x

    Ch.__module__, Ch.__qualname__, Ch.__name__ = "chumpy.ch", "Ch", "Ch"
    if isinstance(value, dict):
        value = {k: Ch(v) if k in chumpy else v for k, v in value.items()}

    class Writer(pickle._Pickler):  # type: ignore[name-defined, misc]
        def save_global(self, obj: object, name: str | None = None) -> None:
            if obj is Ch:
                self.write(pickle.GLOBAL + b"chumpy.ch\nCh\n")
            else:
                super().save_global(obj, name)

        dispatch: ClassVar = {**pickle._Pickler.dispatch, type: save_global}  # type: ignore[attr-defined]

    with path.open("wb") as file:
        Writer(file, 2).dump(value)


def flame_embedding(arrays: dict[str, np.ndarray], points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Triangle index and barycentric weights of the triangle corner nearest to each point."""
    triangles = arrays["f"].astype(int)
    centres = arrays["v_template"][triangles].mean(1)
    index = KDTree(centres).query(points)[1]
    return index, np.full((len(points), 3), 1 / 3, np.float32)


def write_flame(folder: Path, arrays: dict[str, np.ndarray]) -> None:
    """`generic_model.pkl` (chumpy arrays, a sparse regressor, Python 2 strings) and `landmark_embedding.npy` as DECA has it."""
    from scipy.sparse import csc_matrix

    model = {**arrays, "J_regressor": csc_matrix(arrays["J_regressor"]), "bs_style": "lbs", "bs_type": "lrotmin"}
    write_pickle(folder / "generic_model.pkl", model, chumpy=("v_template", "shapedirs", "posedirs"))
    index, weights = flame_embedding(arrays, canonical_mesh()[np.array(VERTICES)].mean(1) * [0.01, -0.01, -0.01])
    table = {"full_lmk_faces_idx": index[None], "full_lmk_bary_coords": weights[None]}
    np.save(folder / "landmark_embedding.npy", np.array(table, dtype=object), allow_pickle=True)


ICT_VERTICES, ICT_FACE = 26719, 9409


@dataclass(frozen=True)
class IctKit:
    """A face of 9,409 vertices with its mouth cut open, 17,310 other vertices, all as quads; UVs in another order."""

    vertices: np.ndarray
    quads: np.ndarray
    uv: np.ndarray
    uv_quads: np.ndarray
    landmarks: np.ndarray


@lru_cache(maxsize=1)
def ict_kit() -> IctKit:
    """The kit's mesh, with landmarks at the vertices that its documentation names."""
    from operators.morphable.bases.ict_facekit import LANDMARKS68

    face = sheet(ICT_FACE)
    taken: list[int] = []
    points = face.mesh[np.array(VERTICES)].mean(1)
    for near in KDTree(face.vertices).query(points, k=12)[1]:
        taken.append(next(int(v) for v in near if v not in taken))
    order = np.full(ICT_FACE, -1)  # new place -> vertex of the sheet
    order[list(LANDMARKS68)] = taken
    order[order < 0] = np.setdiff1d(np.arange(ICT_FACE), taken)
    place = np.argsort(order)
    upper = {(b, c): d for b, c, d in face.triangles.tolist()}  # cells are halved into (a, c, b) and (b, c, d)
    quads = np.array([(a, c, upper[b, c], b) for a, c, b in face.triangles.tolist() if (b, c) in upper])
    centre = face.vertices[quads].mean(1)
    mouth = face.mesh[[61, 291, 13]]
    hole = (np.abs(centre[:, 1] - mouth[2, 1]) < 0.35) & (centre[:, 0] > mouth[0, 0] + 0.8) & (centre[:, 0] < mouth[1, 0] - 0.8)
    rest = np.zeros((ICT_VERTICES - ICT_FACE, 3)) + [0, -15, -10] + np.arange(ICT_VERTICES - ICT_FACE)[:, None] * 1e-4
    first = ICT_FACE + np.arange(0, len(rest) - 3, 4)
    quads = np.concatenate((place[quads[~hole]], first[:, None] + np.arange(4)))
    vertices = np.concatenate((face.vertices[order], rest))
    uv = (vertices[::-1, :2] + 16) / 32
    return IctKit(vertices, quads, uv, ICT_VERTICES - 1 - quads, np.array(LANDMARKS68))


def write_obj(path: Path, kit: IctKit, vertices: np.ndarray) -> None:
    """A whole mesh as the kit writes it: comment, v, vt, usemtl, f with UV indices."""
    head = "# stand-in\nmtllib ICTFaceModelMaterial.mtl\n"
    v = "v %.6f %.6f %.6f\n" * len(vertices) % tuple(vertices.ravel().tolist())
    vt = "vt %.6f %.6f\n" * len(kit.uv) % tuple(kit.uv.ravel().tolist())
    corners = np.stack((kit.quads, kit.uv_quads), -1).reshape(-1) + 1
    f = "f %d/%d %d/%d %d/%d %d/%d\n" * len(kit.quads) % tuple(corners.tolist())
    path.write_text(head + v + vt + "usemtl M_Face\n" + f)


def ict_folder(folder: Path) -> dict[str, np.ndarray]:
    """`FaceXModel` with three identities and three expressions of its 100 and 57."""
    kit = ict_kit()
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {f"identity{k:03d}": m for k, m in enumerate(smooth_modes(kit.vertices, 3, 11) * 0.2)}
    shapes |= dict(zip(("jawOpen", "browDown_L", "cheekRaiser_L"), smooth_modes(kit.vertices, 3, 12) * 0.5, strict=True))
    write_obj(folder / "generic_neutral_mesh.obj", kit, kit.vertices)
    for name, shape in shapes.items():
        write_obj(folder / f"{name}.obj", kit, kit.vertices + shape)
    (folder / "vertex_indices.json").write_text('{"expressions": ["browDown_L", "jawOpen"]}')
    return shapes


def ict_npz(path: Path) -> None:
    """The same kit as arrays."""
    kit = ict_kit()
    fans = [np.concatenate((q[:, [0, 1, 2]], q[:, [0, 2, 3]])).astype(np.int32) for q in (kit.quads, kit.uv_quads)]
    np.savez(
        path, neutral=kit.vertices.astype(np.float32), faces=fans[0], faces_uv=fans[1], uv=kit.uv.astype(np.float32),
        identity=(smooth_modes(kit.vertices, 3, 11) * 0.2).astype(np.float16),
        expression=(smooth_modes(kit.vertices, 3, 12) * 0.5)[[1, 0, 2]].astype(np.float16),
        landmarks68=kit.landmarks.astype(np.int32),
    )  # fmt: skip
