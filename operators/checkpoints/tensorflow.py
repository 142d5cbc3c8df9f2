"""TensorFlow checkpoints (`*.index` and `*.data-00000-of-00001`) read without TensorFlow: tables of numbers, nothing to run.

The index is a table of sorted keys in blocks (LevelDB's table format), each value a BundleEntryProto: type, shape, shard, offset,
size. Keras writes the graph of objects beside the tensors, and with it the name that each variable had in the program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from operators.checkpoints.errors import CheckpointError

_MAGIC = 0xDB4775248B80FB57
_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_STRING = 7
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 6: "i1", 9: "<i8", 10: "?", 19: "<f2"}
_BROKEN = (ValueError, IndexError, UnicodeDecodeError, KeyError, OverflowError, MemoryError)


def read_bundle(index: Path) -> dict[str, Tensor]:
    """Every variable of a checkpoint by its name in the program where that is known, else by its key.

    Errors: CheckpointError when a file is missing, cut short or of another format.
    """
    try:
        return _read(index)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(index, "a TensorFlow checkpoint", str(error.strerror or error), "check the path") from error
    except _BROKEN as error:
        raise CheckpointError(
            index,
            "the index of a TensorFlow checkpoint",
            f"{index.stat().st_size} bytes that cannot be read ({error})",
            "it is damaged, cut short or another kind of file; get it again",
        ) from error


def _read(index: Path) -> dict[str, Tensor]:
    shards: dict[int, np.memmap] = {}
    found: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    entries = {key.decode(): _fields(value) for key, value in _table(index.read_bytes())}
    header = entries.pop("", {})
    count = int(header.get(1, [1])[0])
    for key, entry in entries.items():
        number = int(entry.get(3, [0])[0])
        if number not in shards:
            path = index.with_name(f"{index.name.removesuffix('.index')}.data-{number:05d}-of-{count:05d}")
            if not path.is_file():
                raise CheckpointError(
                    path, "the checkpoint's data beside its index", "no such file", f"put it beside {index.name}"
                )
            shards[number] = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)  # type: ignore[assignment]
        start, size = (int(entry.get(field, [0])[0]) for field in (4, 5))
        if start + size > len(shards[number]):
            raise CheckpointError(
                index, f"{start + size} bytes of data", str(len(shards[number])), "the file is cut short; get it again"
            )
        data, kind = shards[number][start : start + size], int(entry.get(1, [1])[0])
        if kind == _STRING:
            if key == _GRAPH:
                names = _names(_one_string(bytes(data)))
            continue
        if kind not in _TYPES:
            continue
        shape = [int(_fields(dim).get(1, [0])[0]) for dim in _fields(entry.get(2, [b""])[0]).get(2, [])]
        found[key] = torch.from_numpy(np.frombuffer(bytes(data), _TYPES[kind]).reshape(shape).copy())
    return {names.get(key, re.sub(r"/\.ATTRIBUTES/VARIABLE_VALUE$", "", key)): value for key, value in found.items()}


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table file."""
    if len(data) < 48 or int.from_bytes(data[-8:], "little") != _MAGIC:
        raise ValueError("no table")
    footer, at = data[-48:], 0
    _, at = _varint(footer, at)
    _, at = _varint(footer, at)
    start, at = _varint(footer, at)
    size, at = _varint(footer, at)
    for _, handle in _block(data, start, size):
        begin, at = _varint(handle, 0)
        length, _ = _varint(handle, at)
        yield from _block(data, begin, length)


def _block(data: bytes, start: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of a block: each key is a beginning of the last key and what follows it."""
    if start + size + 5 > len(data):
        raise ValueError("a block lies beyond the end")
    if data[start + size]:
        raise ValueError("a compressed block")
    block = data[start : start + size]
    end = len(block) - 4 - 4 * int.from_bytes(block[-4:], "little")
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        length, at = _varint(block, at)
        key = key[:shared] + block[at : at + own]
        at += own + length
        yield key, block[at - length : at]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    raise ValueError("a number without end")


def _fields(data: bytes) -> dict[int, list]:
    """Fields of a protocol buffer message by number: integers, or bytes."""
    found: dict[int, list] = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(data, at)
        elif kind == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value, at = int.from_bytes(data[at : at + size], "little"), at + size
        else:
            raise ValueError(f"field of kind {kind}")
        if at > len(data):
            raise ValueError("a message is cut short")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _one_string(data: bytes) -> bytes:
    """A string tensor of one element: its length, the checksum of that, the bytes."""
    size, at = _varint(data, 0)
    return data[at + 4 : at + 4 + size]


def _names(graph: bytes) -> dict[str, str]:
    """Key to the variable's name, from the graph of objects (TrackableObjectGraph)."""
    names = {}
    for node in _fields(graph).get(1, []):
        for attribute in _fields(node).get(2, []):
            parts = _fields(attribute)
            if parts.get(2) and parts.get(3):
                names[parts[3][0].decode()] = parts[2][0].decode()
    return names
