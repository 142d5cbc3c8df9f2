"""Which reader makes which base, and the one step from a user's files to a converted base in the cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from operators.morphable.bases.bfm import read_bfm2009, read_facefill
from operators.morphable.bases.face3d import read_face3d
from operators.morphable.bases.flame import read_flame
from operators.morphable.bases.ict_facekit import read_ict_facekit
from operators.morphable.bases.sources import SourceFiles, sha256_file
from operators.morphable.bases.stored import save_basis
from operators.morphable.basis import BasisError, FaceBasis

Modes = tuple[int, int, int]


def _bfm_full(files: SourceFiles, modes: Modes | None) -> FaceBasis:
    if files.get("Exp_Pca.bin", "3DMM_shape_basis.dat") is None and files.get("exp_80k.npz") is not None:
        return read_face3d(files, modes)
    raw = files.get("Exp_Pca.bin") is not None or files.get("3DMM_shape_basis.dat") is None
    return read_bfm2009(files, modes) if raw else read_facefill(files, modes)


CONVERTERS: dict[str, Callable[[SourceFiles, Modes | None], FaceBasis]] = {
    "ict_facekit": read_ict_facekit,
    "bfm2009_front": read_bfm2009,
    "bfm2009_full": _bfm_full,
    "flame2020": read_flame,
    "flame2023": read_flame,
}


def convert(name: str, paths: Iterable[Path | str], modes: Modes | None = None) -> tuple[FaceBasis, dict[str, Path]]:
    """The base `name` from files and folders, checked, and the files that were used.

    Errors: BasisError that names the file and what to do.
    """
    if name not in CONVERTERS:
        raise BasisError(f"no converter for {name!r}: expected one of {', '.join(CONVERTERS)}")
    if modes is not None and min(modes[:2]) < 1:
        raise BasisError(f"modes {modes}: at least one identity and one expression mode are needed")
    files = SourceFiles(name, paths)
    basis = CONVERTERS[name](files, modes)
    return basis.check(f"{name} from {', '.join(sorted(p.name for p in files.used.values())[:6])}"), files.used


def install(
    name: str, paths: Iterable[Path | str], folder: Path, modes: Modes | None = None, known: dict[str, str] | None = None
) -> tuple[Path, dict[str, str]]:
    """Convert and put in place in one step: `folder/NAME.npz`, and the sha256 of every file that was used.

    `known`: sha256 by file name. Errors: BasisError when a file has another one, and whatever `convert` finds.
    """
    basis, used = convert(name, paths, modes)
    digests = {key: sha256_file(path) for key, path in used.items()}
    for key, digest in digests.items():
        want = (known or {}).get(key, digest)
        if want != digest:
            raise BasisError(
                f"{used[key]}: sha256 is {digest}, the known file's is {want}: "
                "get it again, or add --any-bytes if you trust this one"
            )
    return save_basis(folder / f"{name}.npz", basis, digests), digests
