"""One checkpoint file of any format that torch has ever written, as plain containers and tensors. Nothing in it is run."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from operators.checkpoints import restricted
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.restricted import Held, held_tensors

_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_BROKEN = (
    *(pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OSError),
    *(
        SafetensorError,
        zipfile.BadZipFile,
        zlib.error,
        RecursionError,
        MemoryError,
        UnicodeError,
        NotImplementedError,
        ImportError,
    ),
)


def sha256_of_file(path: Path) -> str:
    """Hex digest, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: Path) -> Any:
    """What the file holds: .safetensors, torch files (zip and older), TorchScript archives, plain pickles.

    Objects of classes that are not plain data come back as `Held`; TorchScript as the `Held` top module, its code unread.
    Errors: CheckpointError when the file is missing, damaged or no checkpoint.
    """
    if not path.is_file():
        raise CheckpointError(path, "a checkpoint file", "a folder" if path.is_dir() else "no such file", "check the path")
    try:
        return _read(path)
    except _BROKEN as error:
        size, kind = path.stat().st_size, type(error).__name__
        reason = " ".join(str(error).split())[:120]
        found = f"{size} bytes that cannot be read ({kind}{f': {reason}' if reason else ''})"
        raise CheckpointError(
            path, "a checkpoint", found, "it is damaged, cut short or another kind of file; get it again and compare its sha256"
        ) from error


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    with path.open("rb") as file:
        start = file.read(len(_LEGACY_TORCH))
    if start[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            # What torch.load would take for TorchScript must never reach it: it would be loaded as a program.
            if any(name.rpartition("/")[2] == "constants.pkl" for name in names):
                pickled = [name for name in names if name.endswith("/data.pkl")]
                if not pickled:
                    raise ValueError("a TorchScript archive without its data.pkl")
                return _torchscript(archive, pickled[0])
        return _torch(path)
    if start == _LEGACY_TORCH:
        return _torch(path)
    if start[:1] == b"\x80":
        return restricted.loads(path.read_bytes())
    raise ValueError("no pickle, zip or safetensors")


def _torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # classes beside the tensors: omegaconf, Lightning, argparse …
        # torch's own switch refuses such files whole. `restricted` gives torch an unpickler that can call nothing but its list.
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=restricted)


def _torchscript(archive: zipfile.ZipFile, pickled: str) -> Any:
    """Attributes of a saved ScriptModule; see torch/csrc/jit/docs/serialization.md."""
    folder, storages = pickled.rsplit("/", 1)[0], {}

    def storage(key: Any) -> Any:
        kind, of, name = key[0], key[1], str(key[2])
        if kind != "storage" or "/" in name:
            raise pickle.UnpicklingError(f"unknown persistent id {key!r}")
        if name not in storages:
            data = bytearray(archive.read(f"{folder}/data/{name}"))
            held = torch.frombuffer(data, dtype=torch.uint8).untyped_storage() if data else torch.UntypedStorage(0)
            storages[name] = torch.TypedStorage(
                wrap_storage=held, dtype=restricted.STORAGES[of.__name__.removesuffix("Storage")], _internal=True
            )
        return storages[name]

    return restricted.loads(archive.read(pickled), storage)


def state_dict_of(contents: Any, path: Path, *places: str) -> dict[str, Tensor]:
    """The state_dict in a file's contents: at the first of `places` that is there, else the contents themselves.

    `module.` of DataParallel is taken off. Held modules (pickled, TorchScript) are walked. Errors: CheckpointError.
    """
    found = contents
    for place in places:
        if isinstance(contents, dict) and isinstance(contents.get(place), dict | Held):
            found = contents[place]
            break
    try:
        state = dict(held_tensors(found)) if isinstance(found, Held) else found
    except pickle.UnpicklingError as error:
        raise CheckpointError(path, "a network", str(error), "give the official file") from error
    if isinstance(state, dict):
        state = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not isinstance(state, dict) or not state:
        where = " or ".join(repr(place) for place in places)
        found_text = (
            f"{type(contents).__name__} with {', '.join(map(str, list(contents)[:5]))}"
            if isinstance(contents, dict)
            else (repr(contents)[:80])
        )
        expected = f"tensors by name{f' at {where}' if where else ''}"
        raise CheckpointError(path, expected, found_text, "give the file that holds the network's weights")
    claims = [key for key, value in state.items() if value.numel() * value.element_size() > value.untyped_storage().nbytes()]
    if claims:
        raise CheckpointError(path, "tensors with numbers of their own", f"{claims[0]} larger than its numbers", "get it again")
    prefix = "module."
    if all(key.startswith(prefix) for key in state):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state
