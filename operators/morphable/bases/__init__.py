"""Face bases by name or file, one reader per file format; each returns a `FaceBasis`."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from operators.morphable.bases.open_face import load_open_face
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.basis import BasisError, FaceBasis

MODELS = Path(__file__).resolve().parents[2] / "models"
"""Where the bases that ship with the package lie."""

SHIPPED = ("open_face",)
CONVERTED = ("ict_facekit", "bfm2009_front", "bfm2009_full", "flame2020", "flame2023")
"""Bases that `python -m jobs.assets convert` puts into the cache; `NAME_face` is the same, cut to the face."""
FACE = "_face"
MEAN = "_mean"
"""`NAME_mean` is a base without any modes: only pose and light are left to fit. A baseline."""


def bases_folder() -> Path:
    """Where converted bases lie on this node."""
    from operators.assets import cache_folder

    return cache_folder() / "bases"


def basis_path(name_or_path: str | Path) -> Path | None:
    """The file behind a base's name or path; None for `synthetic`, which is made.

    Errors: FileNotFoundError naming the choices and what to run.
    """
    name = str(name_or_path).removesuffix(MEAN)
    if name == "synthetic":
        return None
    if name in SHIPPED:
        return MODELS / f"{name}.npz"
    base = name.removesuffix(FACE)
    path = bases_folder() / f"{base}.npz" if base in CONVERTED else Path(name)
    if path.is_file():
        return path
    if base in CONVERTED:
        raise FileNotFoundError(f"face base {name!r} is not on this machine: run `python -m jobs.assets explain {base}`")
    choices = ", ".join((*SHIPPED, *CONVERTED, "synthetic"))
    raise FileNotFoundError(f"no face base {name!r}: no such file; expected {choices}, or an .npz file")


def load_basis(name_or_path: str | Path) -> FaceBasis:
    """A base by name, or from a file; read once per process.

    Names: `open_face` (ships), the `CONVERTED` ones, `NAME_face` (a converted one without ears, neck and scalp, for drawing over
    photos), `NAME_mean` (any of them without modes: the mean face), and the made-up `synthetic`. Files: .npz of the formats
    `face_basis/1`, `open_face/3`, or ICT-FaceKit's arrays.
    Errors: FileNotFoundError naming the choices and what to run; BasisError when a file is damaged or of another format.
    """
    name = str(name_or_path)
    if name.endswith(MEAN) and not Path(name).is_file():
        return _mean(load_basis(name.removesuffix(MEAN)))
    path = basis_path(name_or_path)
    if path is None:
        return _synthetic()
    stamp = path.stat()
    face_only = name.endswith(FACE) and name.removesuffix(FACE) in CONVERTED
    return _read(path.resolve(), face_only, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=1)
def _synthetic() -> FaceBasis:
    return synthetic_basis()


def _mean(basis: FaceBasis) -> FaceBasis:
    """The base with one mode of each kind that does nothing."""
    none = {name: 0 * getattr(basis, name)[:1] for name in ("identity", "expression", "albedo")}
    return replace(basis, name=f"{basis.name}{MEAN}", **none)


@lru_cache(maxsize=4)
def _read(path: Path, face_only: bool, *stamp: int) -> FaceBasis:
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = set(file.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BasisError(f"{path}: is not an .npz that can be read ({error})") from error
    if "meta" in keys:
        from operators.morphable.bases.stored import load_stored

        basis = load_stored(path)
        if face_only:
            from operators.morphable.bases.cut import face_only as cut

            basis = cut(basis)
        return basis
    if "neutral" in keys:
        from operators.morphable.bases.ict_facekit import load_ict_facekit

        return load_ict_facekit(path).check(str(path))
    return load_open_face(path).check(str(path))
