"""Readers of face bases, one file per file format; each returns a `FaceBasis`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from operators.morphable.bases.ict_facekit import load_ict_facekit
from operators.morphable.bases.open_face import load_open_face
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.basis import FaceBasis

MODELS = Path(__file__).resolve().parents[2] / "models"
"""Where the bases that ship with the package lie."""

READERS: dict[str, Callable[[Path], FaceBasis]] = {
    "open_face": load_open_face,
    "ict_facekit": load_ict_facekit,
}
"""Reader by format. A file `<format>*.npz` is read by its format, any other .npz as open_face."""


@lru_cache(maxsize=4)
def load_basis(name_or_path: str | Path) -> FaceBasis:
    """A base by name (`open_face`, or the made-up `synthetic`), or from a file; read once per process.

    Errors: FileNotFoundError naming the choices when it is neither.
    """
    if str(name_or_path) == "synthetic":
        return synthetic_basis()
    path = MODELS / f"{name_or_path}.npz" if str(name_or_path) in READERS else Path(name_or_path)
    if not path.is_file():
        raise FileNotFoundError(f"no face base {str(name_or_path)!r}: expected {', '.join(READERS)}, synthetic, or an .npz file")
    kind = next((name for name in READERS if path.name.startswith(name)), "open_face")
    return READERS[kind](path)
