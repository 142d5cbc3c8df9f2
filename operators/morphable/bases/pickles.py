"""Reading other people's pickles without running them: numpy arrays, scipy sparse matrices and chumpy's containers only.

A pickle is a program. This reader knows a short list of things that such a program may build, each of which only holds data,
and refuses every other by name before anything is called.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from operators.morphable.basis import BasisError


class Holder:
    """Stands for an object of a foreign class: keeps its state, does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {"state": state}

    def array(self) -> np.ndarray:
        """The numbers inside: a chumpy leaf (`x`), a selection from one (`a`, `idxs`, `preferred_shape`), or a sparse matrix
        (`data`, `indices`, `indptr`; dense). Errors: ValueError when it is none of them."""
        s = self.state
        if "x" in s:
            return dense(s["x"])
        if "a" in s and "idxs" in s:
            picked = dense(s["a"]).ravel()[np.asarray(s["idxs"])]
            return picked.reshape(s["preferred_shape"]) if s.get("preferred_shape") is not None else picked
        if {"data", "indices", "indptr"} <= set(s):
            return _from_compressed(self.by_column, s)
        raise ValueError(f"an object with {', '.join(map(str, s)) or 'no state'} holds no array that is known")

    by_column = True


class _ByRow(Holder):
    by_column = False


def dense(value: Any) -> np.ndarray:
    """A plain array from an array, a list, or a `Holder`."""
    return value.array() if isinstance(value, Holder) else np.asarray(value)


def _from_compressed(by_column: bool, s: dict[str, Any]) -> np.ndarray:
    shape = tuple(int(v) for v in (s.get("_shape") or s["shape"]))
    starts, other, data = (np.asarray(s[k]) for k in ("indptr", "indices", "data"))
    if len(shape) != 2 or max(shape) > 100_000 or len(starts) != shape[by_column] + 1 or len(other) != len(data):
        raise ValueError(f"a sparse matrix of shape {shape} does not fit its own index")
    major = np.repeat(np.arange(shape[by_column]), np.diff(starts))
    out = np.zeros(shape, data.dtype)
    np.add.at(out, (other, major) if by_column else (major, other), data)
    return out


def _tensor(storage: np.ndarray, offset: int, size: Any, stride: Any, *rest: Any) -> np.ndarray:
    """A tensor's view of its storage."""
    size, stride = tuple(int(v) for v in size), tuple(int(v) for v in stride)
    index = sum((np.arange(n) * s).reshape([-1 if k == d else 1 for k in range(len(size))])
                for d, (n, s) in enumerate(zip(size, stride, strict=True)))  # fmt: skip
    return np.asarray(storage)[offset + np.asarray(index)].reshape(size).copy()


def _storage(data: bytes) -> np.ndarray:
    """A tensor storage that was saved inside a pickle, read by torch's own restricted reader."""
    import torch

    stored = torch.load(io.BytesIO(data), weights_only=True)
    return torch.tensor([], dtype=stored.dtype).set_(stored._untyped_storage).numpy()


def _codecs_encode(text: str, encoding: str = "latin1") -> bytes:
    return text.encode("latin1")


def _empty(kind: Any, base: Any = None, state: Any = None) -> Any:
    """`copy_reg._reconstructor`: an empty object of an allowed class."""
    return kind()


_NUMPY = {"core.multiarray": ("_reconstruct", "scalar"), "core.numeric": ("_frombuffer",)}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _codecs_encode,
    ("collections", "OrderedDict"): dict,
    ("copyreg", "_reconstructor"): _empty,
    ("copy_reg", "_reconstructor"): _empty,
    ("builtins", "object"): Holder,
    ("__builtin__", "object"): Holder,
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch.storage", "_load_from_bytes"): _storage,
}
for _module in ("scipy.sparse.csc", "scipy.sparse._csc"):
    _ALLOWED |= {(_module, name): Holder for name in ("csc_matrix", "csc_array")}
for _module in ("scipy.sparse.csr", "scipy.sparse._csr"):
    _ALLOWED |= {(_module, name): _ByRow for name in ("csr_matrix", "csr_array")}


class _Reader(pickle.Unpickler):
    def __init__(self, data: io.BytesIO, source: str):
        super().__init__(data, encoding="latin1")
        self.source = source

    def find_class(self, module_name: str, global_name: str) -> Any:
        known = _ALLOWED.get((module_name, global_name))
        if known is not None:
            return known
        if module_name.split(".")[0] == "chumpy":  # whatever it is called, it becomes a Holder: nothing of that name is imported
            return Holder
        for prefix in ("numpy.", "numpy._"):
            names = _NUMPY.get(module_name.removeprefix(prefix), ())
            if module_name.startswith(prefix) and global_name in names:
                module = np._core.multiarray if global_name != "_frombuffer" else np._core.numeric  # type: ignore[attr-defined]
                return getattr(module, global_name)
        raise BasisError(
            f"{self.source}: asks for {module_name}.{global_name}, which a face base does not need: refused, nothing was run. "
            "Get the file from its official page again; if it comes from there, save its arrays as .npz and convert that"
        )


def read_pickle(path: Path) -> Any:
    """What a pickle (or an .npy that holds one object) says, with foreign objects as `Holder`.

    Python 2 strings are read as latin-1. Errors: BasisError when it asks for anything that is not on the list, or is damaged.
    """
    data = path.read_bytes()
    if data.startswith(b"\x93NUMPY"):
        stream = io.BytesIO(data)
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        try:
            dtype = reader(stream)[2]
        except ValueError as error:
            raise BasisError(f"{path}: is not a whole .npy file ({error}): get it again") from error
        if not dtype.hasobject:
            return np.load(path, allow_pickle=False)
    else:
        stream = io.BytesIO(data)
    try:
        value = _Reader(stream, str(path)).load()
    except BasisError:
        raise
    except Exception as error:  # a pickle's machine can fail in any way: each means a damaged or foreign file
        raise BasisError(f"{path}: is not a pickle that can be read ({type(error).__name__}: {error}): get it again") from error
    return value.item() if isinstance(value, np.ndarray) and value.dtype == object and value.shape == () else value
