"""The project's own file for a converted base, `face_basis/1`: a plain .npz that is read without any pickle."""

from __future__ import annotations

import json
import uuid
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from operators.morphable.basis import BasisError, FaceBasis, NativeCoefficients, SurfacePoints

FORMAT = "face_basis/1"
_MODES = ("identity", "expression", "albedo")
_EXACT = (
    "mean", "triangles", "uv", "uv_triangles", "albedo_mean", "landmarks68", "landmarks468", "mirror", "light_mean", "light_std",
    "regions",
)  # fmt: skip
_NATIVE = (*(f"{part}_{what}" for part in _MODES for what in ("scale", "offset")), "origin")


def save_basis(path: Path, basis: FaceBasis, source: dict[str, str] | None = None) -> Path:
    """Write a base in one step: a reader sees the whole file or none. Same basis and source, same bytes.

    Modes are 16-bit with one scale each: the error of an entry is at most the mode's largest entry / 65,534. `source` is kept
    for the record (file name to sha256). Not compressed: reading is what happens often.
    """
    arrays: dict[str, np.ndarray] = {name: getattr(basis, name) for name in _EXACT}
    for name in _MODES:
        arrays[name], arrays[f"{name}_step"] = _pack(getattr(basis, name))
    for name, anchors in (("anchors68", basis.anchors68), ("anchors468", basis.anchors468)):
        if anchors is not None:
            arrays[f"{name}_vertices"], arrays[f"{name}_weights"] = anchors.vertices, anchors.weights
    meta: dict[str, Any] = {
        "format": FORMAT, "name": basis.name, "licence": basis.licence, "unit": basis.unit, "texture_px": basis.texture_px,
        "source": source or {},
    }  # fmt: skip
    if basis.native is not None:
        meta["convention"] = basis.native.convention
        arrays |= {f"native_{name}": getattr(basis.native, name) for name in _NATIVE}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.npz")
    try:
        np.savez(temporary, meta=np.array(json.dumps(meta, sort_keys=True)), **arrays)  # type: ignore[arg-type]
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_stored(path: Path) -> FaceBasis:
    """Read a `face_basis/1` file. Errors: BasisError when it is damaged, of another format, or does not fit together."""
    data, meta = _read(path)
    try:
        native = None
        if "convention" in meta:
            native = NativeCoefficients(meta["convention"], **{name: data[f"native_{name}"] for name in _NATIVE})
        parts: dict[str, Any] = {name: data[name] for name in _EXACT}
        parts |= {name: _unpack(data[name], data[f"{name}_step"]) for name in _MODES}
        for name in ("anchors68", "anchors468"):
            if f"{name}_vertices" in data:
                parts[name] = SurfacePoints(data[f"{name}_vertices"], data[f"{name}_weights"])
        names = ("name", "licence", "unit", "texture_px")
        basis = FaceBasis(**{name: meta[name] for name in names}, native=native, **parts)
    except KeyError as error:
        raise BasisError(f"{path}: has no {error.args[0]}: convert it again") from error
    return basis.check(str(path))


def describe(path: Path) -> dict[str, Any]:
    """Name, licence, unit and sources of a stored base, without reading its arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BasisError(f"{path}: cannot be read ({error}): convert it again") from error
    if meta.get("format") != FORMAT:
        raise BasisError(f"{path}: expected format {FORMAT!r}, got {meta.get('format')!r}: convert it again")
    return meta


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    meta = describe(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}, meta
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BasisError(f"{path}: cannot be read ({error}): convert it again") from error


def _pack(modes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    step = np.maximum(np.abs(modes).max((1, 2), initial=0.0), 1e-30).astype(np.float32) / np.float32(32767)
    return np.rint(modes / step[:, None, None]).clip(-32767, 32767).astype(np.int16), step


def _unpack(packed: np.ndarray, step: np.ndarray) -> np.ndarray:
    return packed * step[:, None, None].astype(np.float32)
