"""Readers of face bases, one file per file format; each returns a `FaceBasis`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from operators.morphable.basis import FaceBasis

MODELS = Path(__file__).resolve().parents[2] / "models"
"""Where the bases that ship with the package lie."""

_READERS = {
    "open_face": "operators.morphable.bases.open_face:read",
    "ict_facekit": "operators.morphable.bases.ict_facekit:read",
}
"""Format name -> function from a path to a `FaceBasis`. A file `<format>*.npz` is read by its format, any other .npz as open_face."""


def load_basis(name_or_path: str) -> FaceBasis:
    """A basis by name (`open_face`; `synthetic` for tests) or from a file whose name starts with its format's name.

    Errors: ValueError when the format is unknown, FileNotFoundError when the file is missing.
    """
    if name_or_path == "synthetic":
        from operators.morphable.bases.synthetic import synthetic_basis

        return synthetic_basis()
    path = MODELS / f"{name_or_path}.npz" if name_or_path in _READERS else Path(name_or_path)
    kind = next((name for name in _READERS if path.name.startswith(name)), "open_face")
    if path.suffix != ".npz":
        known = ", ".join([*_READERS, "synthetic"])
        raise ValueError(f"unknown face basis {name_or_path!r}: give one of {known}, or the path of an .npz file")
    if not path.is_file():
        raise FileNotFoundError(f"face basis {name_or_path!r}: no file {path}")
    return _reader(kind)(path)


def _reader(kind: str) -> Callable[[Path], FaceBasis]:
    module, function = _READERS[kind].split(":")
    return getattr(import_module(module), function)
