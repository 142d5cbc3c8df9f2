"""FLAME (Li et al. 2017): 5,023 vertices, 300 identity and 100 expression modes, an articulated jaw; metres.

From .pkl (read without running it, see `pickles`) or .npz with the same keys. The jaw becomes three linear expression modes: the
derivative of linear blend skinning and its pose correctives by the jaw's rotation at rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from operators.faces.ibug68 import VERTICES
from operators.morphable.bases.assemble import assemble, mix_regions
from operators.morphable.bases.labels import label_by_mesh
from operators.morphable.bases.pickles import dense, read_pickle
from operators.morphable.bases.register import register_mesh
from operators.morphable.bases.sources import SourceFiles, expect, read_npz
from operators.morphable.bases.surface import outward
from operators.morphable.basis import BasisError, FaceBasis, NativeCoefficients, SurfacePoints

VERTICES_COUNT, IDENTITY, EXPRESSION, JOINTS, JAW = 5023, 300, 100, 5, 2
DEFAULT_MODES = (100, 50, 50)
"""What DECA (Feng et al. 2021) uses of 300, 100 and 200."""
JAW_STD_RAD = (0.12, 0.03, 0.02)
"""Spread given to the jaw's rotation about x (opening), y (sideways) and z (tilt), which the model leaves open: a choice, so that
two deviations open the mouth by 14 degrees."""
LICENCE = "FLAME licence of your download (MPI): treat as non-commercial research unless it says otherwise"
OPEN_LICENCE = "CC BY 4.0 (FLAME 2023 Open; textures have their own licence)"
MODELS = {
    "flame2020": (
        "generic_model.pkl", "female_model.pkl", "male_model.pkl", "FLAME_NEUTRAL.pkl", "FLAME_NEUTRAL.npz", "flame2020.pkl",
        "flame2020.npz", "generic_model.npz",
    ),
    "flame2023": (
        "flame2023_Open.pkl", "flame2023.pkl", "flame2023_no_jaw.pkl", "flame2023.npz", "flame2023_Open.npz", "FLAME_NEUTRAL.pkl",
        "FLAME_NEUTRAL.npz",
    ),
}  # fmt: skip
TEXTURES = ("FLAME_texture.npz", "albedoModel2020_FLAME_albedoPart.npz")
TEXTURE_PX = 256
_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights", "f")
_MASKS = {"neck": "neck", "scalp": "scalp", "left_ear": "ear", "right_ear": "ear"}


def read_flame(files: SourceFiles, modes: tuple[int, int, int] | None = None) -> FaceBasis:
    """`flame2020` or `flame2023` (by `files.name`) with that many identity, expression (and the jaw) and texture modes.

    Also used when given: `landmark_embedding.npy` or `flame_static_embedding.pkl` + `flame_dynamic_embedding.npy` (68 points),
    `mediapipe_landmark_embedding.npz` (105 face-mesh points), `FLAME_masks.pkl` (regions), a texture space. One of the
    landmark files is needed. Errors: BasisError.
    """
    keep = modes or DEFAULT_MODES
    path = files.need(*MODELS[files.name])
    model = read_model(path)
    mean = model["v_template"]
    triangles = outward(mean, model["f"].astype(np.int64))
    turned = not np.array_equal(triangles, model["f"])
    if model["shapedirs"].shape[2] != IDENTITY + EXPRESSION:
        raise BasisError(f"{path}: shapedirs has {model['shapedirs'].shape[2]} modes, expected {IDENTITY} + {EXPRESSION}")
    shape = np.ascontiguousarray(model["shapedirs"].transpose(2, 0, 1).astype(np.float32))
    identity, expression = shape[: min(keep[0], IDENTITY)], shape[IDENTITY:][: keep[1]]
    jaw = jaw_modes(model) * np.array(JAW_STD_RAD)[:, None, None]
    moves = np.abs(jaw).max((1, 2)) > 1e-6
    jaw = jaw[moves].astype(np.float32)
    corners = model["f"].astype(np.int64)
    landmarks, known = _landmarks(files, corners, mean, triangles)
    colour = _texture(files, keep[2])
    regions = _regions(files, mean, triangles, landmarks, known)
    ones, zeros = np.ones, np.zeros
    scale = np.concatenate((ones(len(expression)), np.array(JAW_STD_RAD)[moves])).astype(np.float32)
    colours = 0 if "albedo" not in colour else len(colour["albedo"])
    native = NativeCoefficients(
        "FLAME: betas 0:300 identity, 300:400 expression, then jaw pose about x, y, z in radians",
        ones(len(identity), np.float32), zeros(len(identity), np.float32), scale, zeros(len(scale), np.float32),
        ones(colours, np.float32), zeros(colours, np.float32), zeros(3, np.float32),
    )  # fmt: skip
    if turned and "uv_triangles" in colour:
        colour["uv_triangles"] = np.ascontiguousarray(colour["uv_triangles"][:, ::-1])
    open_ = "open" in path.name.lower() and files.name == "flame2023"
    return assemble(
        files.name, OPEN_LICENCE if open_ else LICENCE, "m", mean, identity, np.concatenate((expression, jaw)), triangles,
        landmarks, regions=regions, known468=known, native=native, **colour,
    )  # fmt: skip


def read_model(path: Path) -> dict[str, np.ndarray]:
    """The model's arrays, dense. Errors: BasisError when one is missing or of another size."""
    data = read_npz(path, _KEYS) if path.suffix == ".npz" else read_pickle(path)
    if not isinstance(data, dict):
        raise BasisError(f"{path}: holds {type(data).__name__}, not a FLAME model")
    out = {}
    for name in _KEYS:
        if name not in data:
            raise BasisError(f"{path}: has no {name}: not a FLAME model")
        try:
            out[name] = np.asarray(dense(data[name]))
        except (ValueError, KeyError, IndexError) as error:
            raise BasisError(f"{path}: {name} cannot be read ({error})") from error
    for name, shape in (
        ("v_template", (VERTICES_COUNT, 3)), ("shapedirs", (VERTICES_COUNT, 3, None)), ("f", (None, 3)),
        ("posedirs", (VERTICES_COUNT, 3, 9 * (JOINTS - 1))), ("J_regressor", (JOINTS, VERTICES_COUNT)),
        ("weights", (VERTICES_COUNT, JOINTS)), ("kintree_table", (2, JOINTS)),
    ):  # fmt: skip
        expect(path, name, out[name], shape)
    return out


def jaw_modes(model: dict[str, np.ndarray]) -> np.ndarray:
    """(3, vertices, 3): change of the mean face per radian of jaw rotation about x, y and z, at rest.

    Linear blend skinning moves a vertex by w (e x (v - J)) with the jaw's weight w and joint J; pose correctives add
    posedirs[..., 9 (jaw - 1) + k] times the entries k of the rotation's derivative, which is skew.
    """
    mean = model["v_template"].astype(np.float64)
    joint = model["J_regressor"][JAW].astype(np.float64) @ mean
    weight = model["weights"][:, JAW].astype(np.float64)[:, None]
    pose = model["posedirs"].astype(np.float64)[:, :, 9 * (JAW - 1) : 9 * JAW].reshape(-1, 3, 3, 3)
    out = []
    for axis in np.eye(3):
        skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
        out.append(weight * np.cross(axis, mean - joint) + np.einsum("vcij,ij->vc", pose, skew))
    return np.stack(out)


def _anchors(path: Path, faces: Any, weights: Any, triangles: np.ndarray) -> SurfacePoints:
    index, weights = np.asarray(dense(faces)).astype(np.int64).ravel(), np.asarray(dense(weights), np.float32).reshape(-1, 3)
    if len(index) != len(weights) or index.min() < 0 or index.max() >= len(triangles):
        raise BasisError(f"{path}: its triangles are not those of this model")
    return SurfacePoints(triangles[index].astype(np.int32), weights / weights.sum(1, keepdims=True))


def _landmarks(
    files: SourceFiles, corners: np.ndarray, mean: np.ndarray, triangles: np.ndarray
) -> tuple[SurfacePoints, tuple[np.ndarray, SurfacePoints] | None]:
    """The 68 points (contour as seen from the front) and the face-mesh points that the files give."""
    known = None
    mesh_path = files.get("mediapipe_landmark_embedding.npz")
    if mesh_path:
        data = read_npz(mesh_path, ("lmk_face_idx", "lmk_b_coords", "landmark_indices"))
        known = (
            data["landmark_indices"].astype(np.int64).ravel(),
            _anchors(mesh_path, data["lmk_face_idx"], data["lmk_b_coords"], corners),
        )
    path = files.get("landmark_embedding.npy", "flame_static_embedding.pkl", "flame_static_embedding_68.pkl")
    if path is None and known is None:
        files.need("landmark_embedding.npy", "mediapipe_landmark_embedding.npz", "flame_static_embedding.pkl")
    if path is None:
        assert known is not None
        mesh = register_mesh(mean, triangles, None, (known[0], known[1].at(mean)))
        return _join(mesh, np.array(VERTICES)), known
    data = read_pickle(path)
    if not isinstance(data, dict):
        raise BasisError(f"{path}: holds {type(data).__name__}, not landmarks of FLAME")
    if "full_lmk_faces_idx" in data:
        return _anchors(path, data["full_lmk_faces_idx"], data["full_lmk_bary_coords"], corners), known
    prefix = "static_" if "static_lmk_faces_idx" in data else ""
    names = ("lmk_faces_idx", "lmk_bary_coords") if prefix else ("lmk_face_idx", "lmk_b_coords")
    if prefix + names[0] not in data:
        raise BasisError(f"{path}: has no {names[0]}: not landmarks of FLAME")
    inner = _anchors(path, data[prefix + names[0]], data[prefix + names[1]], corners)
    if prefix:
        contour = _anchors(path, data["dynamic_lmk_faces_idx"][0], data["dynamic_lmk_bary_coords"][0], corners)
    else:
        dynamic_path = files.need("flame_dynamic_embedding.npy")
        dynamic = read_pickle(dynamic_path)
        contour = _anchors(dynamic_path, np.asarray(dynamic["lmk_face_idx"])[0], np.asarray(dynamic["lmk_b_coords"])[0], corners)
    both = SurfacePoints(np.concatenate((contour.vertices, inner.vertices)), np.concatenate((contour.weights, inner.weights)))
    expect(path, "landmarks", both.vertices, (68, 3))
    return both, known


def _join(mesh: SurfacePoints, pairs: np.ndarray) -> SurfacePoints:
    """Means of pairs of anchored points."""
    vertices = mesh.vertices[pairs].reshape(len(pairs), -1)
    return SurfacePoints(vertices, mesh.weights[pairs].reshape(len(pairs), -1) / np.float32(2))


def _regions(files: SourceFiles, mean: np.ndarray, triangles: np.ndarray, landmarks: SurfacePoints, known) -> np.ndarray | None:
    """Polygons of the face mesh, and over them what `FLAME_masks.pkl` knows better; its nose and lips hold skin around them."""
    path = files.get("FLAME_masks.pkl")
    if path is None:
        return None
    masks = read_pickle(path)
    given = None if known is None else (known[0], known[1].at(mean))
    mesh = register_mesh(mean, triangles, landmarks.at(mean), given).at(mean)
    own: dict[str, np.ndarray] = {}
    for key, name in _MASKS.items():
        if key in masks:
            vertices = np.asarray(dense(masks[key])).astype(np.int64).ravel()
            own[name] = np.concatenate((own[name], vertices)) if name in own else vertices
    for key in ("left_eyeball", "right_eyeball"):
        if key in masks:
            vertices = np.asarray(dense(masks[key])).astype(np.int64).ravel()
            own["left_eye" if mean[vertices, 0].mean() < mean[:, 0].mean() else "right_eye"] = vertices
    for name, vertices in own.items():
        if vertices.min() < 0 or vertices.max() >= len(mean):
            raise BasisError(f"{path}: {name} names vertices that FLAME does not have")
    return mix_regions(label_by_mesh(mean, mesh), own)


def _texture(files: SourceFiles, count: int) -> dict[str, Any]:
    """UV and albedo of a texture space, or what is needed to go without.

    `FLAME_texture.npz`: mean and tex_dir in 0..255. AlbedoMM (Smith et al. 2020): linear diffuse albedo, display value
    (0.6 x)^(1/2.2), linearised about its mean. Both are 512 x 512, rows from the top, v up; blue may come first: skin is redder.
    """
    path = files.get(*TEXTURES)
    if path is None:
        return {}
    linear = path.name.lower().startswith("albedomodel")
    names = ("MU", "PC") if linear else ("mean", "tex_dir")
    data = read_npz(path, (*names, "vt", "ft"))
    mean = np.asarray(data[names[0]], np.float32)
    side = mean.shape[0]
    expect(path, names[0], mean, (side, side, 3))
    modes = expect(path, names[1], data[names[1]], (side, side, 3, None))[..., :count]
    mean, modes = _shrink(mean[..., None])[..., 0], _shrink(np.asarray(modes, np.float32))
    if linear:
        value = np.maximum(np.float32(0.6) * mean, 1e-4)
        slope = np.float32(0.6 / 2.2) * value ** np.float32(1 / 2.2 - 1)
        mean, modes = value ** np.float32(1 / 2.2), modes * slope[..., None]
    else:
        mean, modes = mean / np.float32(255), modes / np.float32(255)
    middle = mean[mean.shape[0] // 4 : -mean.shape[0] // 4, mean.shape[1] // 4 : -mean.shape[1] // 4]
    if middle[..., 0].mean() < middle[..., 2].mean():
        mean, modes = mean[..., ::-1], modes[..., ::-1, :]
    px = mean.shape[0]
    vt = np.asarray(data["vt"], np.float32)
    return {
        "albedo_mean": np.ascontiguousarray(mean.reshape(px * px, 3)),
        "albedo": np.ascontiguousarray(modes.reshape(px * px, 3, -1).transpose(2, 0, 1)),
        "texture_px": px, "uv": np.stack((vt[:, 0], 1 - vt[:, 1]), 1),
        "uv_triangles": expect(path, "ft", np.asarray(data["ft"]), (None, 3)).astype(np.int64),
    }  # fmt: skip


def _shrink(texture: np.ndarray) -> np.ndarray:
    """Mean over squares of texels, down to `TEXTURE_PX` a side."""
    factor = max(texture.shape[0] // TEXTURE_PX, 1)
    side = texture.shape[0] // factor
    cut = texture[: side * factor, : side * factor]
    return cut.reshape(side, factor, side, factor, *texture.shape[2:]).mean((1, 3))
