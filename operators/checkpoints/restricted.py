"""Pickles read as data. What a pickle wants to call or build is recorded, never done, but for a short list of harmless things.

A pickle is a program: `find_class` hands it callables, everything else it does to what they return. So `find_class` here
returns tensors' and arrays' own constructors, plain containers, and for every other name a `Held` class that only remembers.
"""

from __future__ import annotations

import codecs
import collections
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch._utils as tensors
from torch import Tensor, nn

STORAGES = {
    "Double": torch.float64, "Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool,
}  # fmt: skip
"""What torch calls its storages in files, and the type of their numbers."""


class Held:
    """An object of a class that is not on the list: its name, arguments, state and items. Nothing of it was run."""

    name = ""

    def __new__(cls, *args: Any, **named: Any) -> Held:
        held = super().__new__(cls)
        held.args, held.named, held.state, held.items, held.pairs = args, named, None, [], {}
        return held

    def __init__(self, *args: Any, **named: Any):
        pass

    args: tuple[Any, ...]
    named: dict[str, Any]
    state: Any
    items: list[Any]
    pairs: dict[Any, Any]

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs[key] = value

    def __call__(self, *args: Any, **named: Any) -> Held:
        return type(self)(*args, **named)

    def append(self, item: Any) -> None:
        """A list's items."""
        self.items.append(item)

    def extend(self, items: Any) -> None:
        """A list's items."""
        self.items.extend(items)

    def add(self, item: Any) -> None:
        """A set's items."""
        self.items.append(item)

    def __repr__(self) -> str:
        return f"<{self.name}, not run>"


def _held(module: str, name: str) -> type[Held]:
    return type(name.rsplit(".", 1)[-1] or "Held", (Held,), {"name": f"{module}.{name}"})


def _encode(text: str, encoding: str = "latin1", *_: Any) -> bytes:
    """How protocol 2 spells bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"bytes in encoding {encoding!r}")
    return codecs.encode(text, "latin1")


def _inner_storage(data: bytes) -> Any:
    """A storage that a pickle carries as a file of its own (torch.storage._load_from_bytes)."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _plain_list(items: Any) -> list[Any]:
    return list(items)


def _numpy() -> dict[tuple[str, str], Any]:
    from numpy._core import multiarray

    both = [("_reconstruct", multiarray._reconstruct), ("scalar", multiarray.scalar)]  # type: ignore[attr-defined]
    found: dict[tuple[str, str], Any] = {
        (module, name): value for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name, value in both
    }
    return found | {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}


def _allowed() -> dict[tuple[str, str], Any]:
    plain = (bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, slice)
    found: dict[tuple[str, str], Any] = {("builtins", kind.__name__): kind for kind in plain}
    found |= {("__builtin__", kind.__name__): kind for kind in plain}
    found |= {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("collections", "defaultdict"): lambda *_: {},
        ("_codecs", "encode"): _encode,
        ("torch._utils", "_rebuild_tensor"): tensors._rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensors._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
        ("torch.storage", "_load_from_bytes"): _inner_storage,
        ("torch.nn.parameter", "Parameter"): nn.Parameter,
        ("torch", "Tensor"): Tensor,
        ("torch", "Size"): torch.Size,
        ("torch", "device"): torch.device,
    }
    found |= {
        ("torch.jit._pickle", name): _plain_list
        for name in ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
    }
    found |= {("torch", f"{kind}Storage"): getattr(torch, f"{kind}Storage") for kind in STORAGES}
    found |= {("torch", str(kind).removeprefix("torch.")): kind for kind in (torch.float32, torch.float16, torch.int64)}
    return found | _numpy()


ALLOWED = _allowed()


class Unpickler(pickle.Unpickler):
    """A reader of pickles that can call nothing but `ALLOWED`."""

    def find_class(self, module: str, name: str) -> Any:
        """The constructor, or a class that only remembers."""
        return ALLOWED.get((module, name)) or _held(module, name)


def load(file: Any, **_: Any) -> Any:
    """As pickle.load, restricted. With `Unpickler` it lets torch.load take this module for its `pickle_module`."""
    return Unpickler(file).load()


def loads(data: bytes, persistent: Callable[[Any], Any] | None = None) -> Any:
    """A pickle in memory; `persistent` resolves persistent ids (tensor storages)."""
    reader = Unpickler(io.BytesIO(data))
    if persistent is not None:
        reader.persistent_load = persistent
    return reader.load()


_DEEPEST, _MOST = 32, 100_000  # modules within modules, and all in all


def held_tensors(thing: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Tensors of a held torch module by their state_dict names: pickled modules and TorchScript archives.

    Errors: pickle.UnpicklingError for modules that lie within themselves, or are more than any network has.
    """
    return _tensors(thing, prefix, 0, iter(range(_MOST)))


def _tensors(thing: Any, prefix: str, depth: int, left: Iterator[int]) -> Iterator[tuple[str, Tensor]]:
    if depth > _DEEPEST or next(left, None) is None:
        raise pickle.UnpicklingError(f"modules more than {_DEEPEST} deep, or more than {_MOST} of them")
    state = thing.state if isinstance(thing, Held) else thing
    if isinstance(thing, Held) and state is None and len(thing.args) == 1 and isinstance(thing.args[0], dict):
        state = thing.args[0].get("state")  # a persistent class keeps its __dict__ in the description that it is rebuilt from
    if not isinstance(state, dict):
        return
    groups = [state[group] for group in ("_parameters", "_buffers", "_modules") if isinstance(state.get(group), dict)]
    for group in groups or [state]:
        for name, value in group.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value.detach()
            elif isinstance(value, Held):
                yield from _tensors(value, f"{prefix}{name}.", depth + 1, left)
