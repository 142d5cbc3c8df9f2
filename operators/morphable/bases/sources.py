"""The files that a user brings: found by name, read with messages that say what is wrong and what to do."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from operators.morphable.basis import BasisError


class SourceFiles:
    """Files by name (case ignored) among given files and folders; folders are searched to their leaves.

    A file that is given itself wins over folders given before it. Errors: BasisError when a given path is not there.
    """

    def __init__(self, name: str, paths: Iterable[Path | str]):
        self.name = name
        self.used: dict[str, Path] = {}
        self._files: dict[str, list[Path]] = {}
        for given in map(Path, paths):
            if not given.exists():
                raise BasisError(f"{given}: is not there")
            if given.is_dir():
                for path in sorted(p for p in given.rglob("*") if p.is_file()):
                    self._files.setdefault(path.name.lower(), []).append(path)
            else:
                self._files[given.name.lower()] = [given]

    def get(self, *names: str) -> Path | None:
        """The first of these names that is there.

        Errors: BasisError when it lies in two places with different content.
        """
        for name in names:
            found = self._files.get(name.lower())
            if found:
                if len({path.stat().st_size for path in found}) > 1 or (len(found) > 1 and len(set(map(sha256_file, found))) > 1):
                    places = ", ".join(map(str, found[:3]))
                    raise BasisError(f"{self.name}: {name} is there more than once with different content ({places}): name one")
                self.used[name] = found[0]
                return found[0]
        return None

    def need(self, *names: str) -> Path:
        """The same. Errors: BasisError that says where it comes from."""
        path = self.get(*names)
        if path is None:
            here = ", ".join(sorted(p[0].name for p in self._files.values())[:12]) or "nothing"
            raise BasisError(
                f"{self.name}: {' or '.join(names)} is missing among what was given ({here}): "
                f"`python -m jobs.assets explain {self.name}` says where to get it"
            )
        return path

    def find(self, *suffixes: str) -> list[Path]:
        """All files that end so."""
        return [paths[0] for name, paths in sorted(self._files.items()) if name.endswith(suffixes)]


def sha256_file(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_mat(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Named variables of a MATLAB file (version 5 to 7).

    Errors: BasisError when it is truncated, another kind of file, of version 7.3, or lacks a variable.
    """
    from scipy.io import loadmat

    names = tuple(names)
    try:
        data = loadmat(str(path), variable_names=names)
    except NotImplementedError as error:
        raise BasisError(f"{path}: is a MATLAB 7.3 file: save it with `save -v7` and convert again") from error
    except Exception as error:  # scipy's reader fails in many ways on a damaged file
        raise BasisError(f"{path}: is not a whole MATLAB file ({type(error).__name__}: {error}): get it again") from error
    missing = [name for name in names if name not in data]
    if missing:
        raise BasisError(f"{path}: has no {', '.join(missing)}: another file of that name, or an incomplete download")
    return {name: np.asarray(data[name]) for name in names}


def read_npz(path: Path, names: Iterable[str] = ()) -> dict[str, np.ndarray]:
    """Named arrays of an .npz (all when none are named), never unpickled. Errors: BasisError when damaged or incomplete."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = tuple(names) or tuple(file.files)
            missing = [name for name in names if name not in file.files]
            if missing:
                raise BasisError(f"{path}: has no {', '.join(missing)}: another file of that name")
            return {name: file[name] for name in names}
    except BasisError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BasisError(f"{path}: is not an .npz of plain arrays ({error}): get it again") from error


def read_floats(path: Path, dtype: Any, count: int | None = None) -> np.ndarray:
    """A raw little-endian file. Errors: BasisError when its size is not `count` items."""
    size = np.dtype(dtype).itemsize
    got = path.stat().st_size
    if got % size or (count is not None and got != count * size):
        want = "" if count is None else f", expected {count * size}"
        raise BasisError(f"{path}: has {got} bytes{want}: truncated, or another file of that name")
    return np.fromfile(path, dtype=np.dtype(dtype).newbyteorder("<"))


def expect(path: Path, name: str, array: np.ndarray, shape: tuple[int | None, ...]) -> np.ndarray:
    """The array, when its shape is that (None = any). Errors: BasisError naming file, variable and both shapes."""
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = " x ".join("any" if s is None else str(s) for s in shape)
        raise BasisError(f"{path}: {name} is {' x '.join(map(str, array.shape))}, expected {wanted}: another model's file")
    return array


def zero_based(path: Path, name: str, index: np.ndarray, count: int) -> np.ndarray:
    """Indices that count from 1, counted from 0. Errors: BasisError when they leave 1..count."""
    values = np.asarray(index, np.int64) - 1
    if values.size == 0 or values.min() < 0 or values.max() >= count:
        raise BasisError(f"{path}: {name} should count from 1 to {count}: another model's file")
    return values
