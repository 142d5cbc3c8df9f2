"""A TensorFlow checkpoint (index and data) written without TensorFlow, byte for byte in its format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

_MAGIC = 0xDB4775248B80FB57


def write_bundle(index: Path, variables: Mapping[str, tuple[str, np.ndarray]], entries_per_block: int = 16) -> None:
    """`variables`: checkpoint key -> (name in the program, values). Checksums are left zero: nothing here reads them."""
    data, table = bytearray(), {"": _field(1, 1) + _field(3, _field(1, 1))}
    graph = b"".join(
        _field(1, _field(2, _field(1, "VARIABLE_VALUE") + _field(2, name) + _field(3, key)))
        for key, (name, _) in variables.items()
    )
    items: list[tuple[str, bytes, int, tuple[int, ...]]] = [
        (key, np.ascontiguousarray(values, np.float32).tobytes(), 1, values.shape) for key, (_, values) in variables.items()
    ]
    items.append(("_CHECKPOINTABLE_OBJECT_GRAPH", _varint(len(graph)) + bytes(4) + graph, 7, ()))
    for key, raw, kind, shape in sorted(items):
        dims = b"".join(_field(2, _field(1, size)) for size in shape)
        table[key] = (
            _field(1, kind) + _field(2, dims) + _field(4, len(data)) + _field(5, len(raw)) + _varint(6 << 3 | 5) + bytes(4)
        )
        data += raw
    index.parent.mkdir(parents=True, exist_ok=True)
    index.with_name(f"{index.name.removesuffix('.index')}.data-00000-of-00001").write_bytes(data)
    index.write_bytes(_table(sorted((key.encode(), value) for key, value in table.items()), entries_per_block))


def _table(items: list[tuple[bytes, bytes]], per_block: int) -> bytes:
    out, handles = b"", []
    for start in range(0, len(items), per_block):
        part = items[start : start + per_block]
        handle, out = _add(out, _block(part))
        handles.append((part[-1][0], handle))
    meta, out = _add(out, _block([]))
    index, out = _add(out, _block(handles))
    return out + (meta + index).ljust(40, b"\0") + _MAGIC.to_bytes(8, "little")


def _add(out: bytes, block: bytes) -> tuple[bytes, bytes]:
    return _varint(len(out)) + _varint(len(block)), out + block + b"\0" + bytes(4)


def _block(items: list[tuple[bytes, bytes]]) -> bytes:
    """One restart at the beginning; each key without what it shares with the last."""
    out, last = b"", b""
    for key, value in items:
        shared = next((i for i, (a, b) in enumerate(zip(last, key, strict=False)) if a != b), min(len(last), len(key)))
        out += _varint(shared) + _varint(len(key) - shared) + _varint(len(value)) + key[shared:] + value
        last = key
    return out + bytes(4) + (1).to_bytes(4, "little")


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(raw)) + raw
