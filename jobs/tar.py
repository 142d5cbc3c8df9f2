"""A streaming tar reader that says where an archive broke.

`tarfile` takes a damaged header for the end of the archive and would lose the rest without a word. Formats: ustar, pax
(POSIX.1-2001) and GNU long names; members are yielded in order and never held whole unless the caller reads them.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedIOBase

_BLOCK = 512
_NAME_LIMIT = 1024 * 1024
_KINDS = {b"\0": "file", b"0": "file", b"7": "file", b"1": "hard link", b"2": "symbolic link", b"3": "device", b"4": "device"}
_KINDS |= {b"5": "folder", b"6": "pipe"}


class BrokenTarError(Exception):
    """The archive cannot be read on from a byte offset, which the message names."""


@dataclass
class TarMember:
    """One member while the reader stands at it; `read` works until the next member is asked for."""

    name: str
    kind: str
    size: int
    offset: int
    _reader: _Reader

    def read(self, limit: int) -> bytes:
        """Up to `limit` bytes of the content. Errors: `BrokenTarError` when the archive ends inside it."""
        return self._reader.content(min(limit, self.size))


class _Reader:
    def __init__(self, stream: BufferedIOBase):
        self.stream, self.at, self.left = stream, 0, 0

    def exactly(self, count: int, what: str) -> bytes:
        data = self.upto(count)
        if len(data) < count:
            raise BrokenTarError(f"ends at byte {self.at}, inside {what}")
        return data

    def upto(self, count: int) -> bytes:
        parts, left = [], count
        while left:
            try:
                part = self.stream.read(min(left, 1 << 22))
            except EOFError:  # a compressed stream that was cut
                part = b""
            if not part:
                break
            parts.append(part)
            left -= len(part)
        self.at += count - left
        return b"".join(parts)

    def content(self, count: int) -> bytes:
        data = self.exactly(count, "a member")
        self.left -= count
        return data

    def skip(self) -> None:
        while self.left > 0:
            self.left -= len(self.exactly(min(self.left, 1 << 20), "a member"))


def read_tar(stream: BufferedIOBase) -> Iterator[TarMember]:
    """Members in order. Errors: `BrokenTarError` for a damaged or truncated archive, after all members before it."""
    reader = _Reader(stream)
    long_name, long_size = None, None
    while True:
        start = reader.at
        header = reader.upto(_BLOCK)
        if not header:
            raise BrokenTarError(f"ends at byte {start} without an end marker: it was cut, or is empty")
        if len(header) < _BLOCK:
            raise BrokenTarError(f"ends at byte {reader.at}, inside a header")
        if not header.strip(b"\0"):
            return
        if not _sound(header):
            raise BrokenTarError(f"is damaged: no valid header at byte {start}")
        size, kind = _number(header[124:136]), header[156:157]
        padded = -(-size // _BLOCK) * _BLOCK
        if kind in (b"x", b"g", b"L", b"K"):
            if size > _NAME_LIMIT:
                raise BrokenTarError(f"is damaged: a name of {size} bytes at byte {start}")
            body = reader.exactly(padded, "a long name")[:size]
            if kind == b"L":
                long_name = body.rstrip(b"\0").decode("utf-8", "surrogateescape")
            elif kind == b"x":
                fields = _pax(body, start)
                long_name = fields.get("path", long_name)
                long_size = fields.get("size")
            continue
        if long_size is not None:
            try:
                size = int(long_size)
            except ValueError:
                raise BrokenTarError(f"is damaged: size {long_size[:20]!r} at byte {start}") from None
            padded = -(-size // _BLOCK) * _BLOCK
        if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
            size = padded = 0
        reader.left = padded
        yield TarMember(
            long_name if long_name is not None else _name(header), _KINDS.get(kind, "special file"), size, start, reader
        )
        reader.skip()
        long_name, long_size = None, None


def _sound(header: bytes) -> bool:
    try:
        expected = _number(header[148:156])
        return expected == sum(header[:148]) + 8 * 32 + sum(header[156:]) and _number(header[124:136]) >= 0
    except ValueError:
        return False


def _number(field: bytes) -> int:
    if field[0] in (0x80, 0xFF):  # GNU base-256
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big") if field[0] == 0x80 else -1
    return int(field.split(b"\0", 1)[0].strip() or b"0", 8)


def _name(header: bytes) -> str:
    name = header[:100].split(b"\0", 1)[0]
    prefix = header[345:500].split(b"\0", 1)[0] if header[257:263] == b"ustar\0" else b""
    return (prefix + b"/" + name if prefix else name).decode("utf-8", "surrogateescape")


def _pax(body: bytes, offset: int) -> dict[str, str]:
    fields, at = {}, 0
    while at < len(body) and body[at : at + 1] != b"\0":
        digits, space, _ = body[at : at + 20].partition(b" ")
        if not space or not digits.isdigit() or not 0 < int(digits) <= len(body) - at:
            raise BrokenTarError(f"is damaged: extended header at byte {offset}")
        key, _, value = body[at + len(digits) + 1 : at + int(digits) - 1].partition(b"=")
        fields[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        at += int(digits)
    return fields


def tar_bytes(files: Mapping[str, bytes]) -> bytes:
    """A tar of these files in this order; the same files give the same bytes (no time, no owner)."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return sink.getvalue()
