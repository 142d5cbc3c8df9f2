"""Readers of face bases, one file per file format; each returns a `FaceBasis`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from operators.morphable.bases.open_face import load_open_face
from operators.morphable.basis import FaceBasis

MODELS = Path(__file__).resolve().parents[2] / "models"

NAMED: dict[str, tuple[Callable[[Path], FaceBasis], Path]] = {
    "open_face": (load_open_face, MODELS / "open_face.npz"),
}
"""Bases by name: reader and file."""


def load_basis(name_or_path: str | Path) -> FaceBasis:
    """A base by name (`open_face`), or from a file in the open_face format.

    Errors: FileNotFoundError naming the choices when it is neither.
    """
    reader, path = NAMED.get(str(name_or_path), (load_open_face, Path(name_or_path)))
    if not path.is_file():
        raise FileNotFoundError(f"no face base {str(name_or_path)!r}: expected one of {', '.join(NAMED)}, or an .npz file")
    return reader(path)
