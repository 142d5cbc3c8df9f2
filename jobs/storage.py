"""Local disk and S3 behind one small interface; retries, timeouts and clear errors live here.

Keys are relative to the root that the storage was opened at, with `/` between components. A write is atomic: a reader
sees the old bytes or the new ones. No message contains a secret: URIs and endpoints with credentials in them are refused.
"""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from urllib.parse import unquote, urlsplit

from operators.types import OperatorConfig, option

_TEMPORARY = ".tmp-"


class StorageError(OSError):
    """Storage trouble that is not about one object: the message names the URI and what to do."""


class ObjectError(StorageError):
    """One object cannot be read (missing, no permission, archived); others may well be."""


@dataclass(frozen=True)
class StorageConfig(OperatorConfig):
    """How storage is reached. Credentials come from the standard chain (environment, profile, instance role) only."""

    endpoint: str | None = option(None, "URL of an S3-compatible store; none = AWS")
    region: str | None = option(None, "S3 region; none = from the standard chain")
    profile: str | None = option(None, "profile in the AWS configuration files")
    anonymous: bool = option(False, "read public buckets without credentials")
    connect_timeout_s: float = option(10.0, "seconds to wait for a connection")
    read_timeout_s: float = option(60.0, "seconds to wait for a response or for more of a body")
    attempts: int = option(10, "how often a request is tried before it counts as failed")
    fsync: bool = option(True, "local disk: wait until a written file is safe from a power cut")

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            if "@" in parts.netloc:
                raise ValueError("the endpoint contains credentials: leave them to the standard chain (AWS_ACCESS_KEY_ID, …)")
            if parts.scheme not in ("http", "https") or not parts.netloc:
                raise ValueError(f"endpoint {self.endpoint!r}: expected http://host:port or https://host")


@dataclass(frozen=True)
class ObjectInfo:
    """One listed object: key relative to the storage's root, and its size."""

    key: str
    bytes: int


DEFAULT_STORAGE = StorageConfig()


class Storage(ABC):
    """A folder or bucket prefix. Instances are cheap to send to other processes; connections are made on first use."""

    uri: str

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Objects whose key starts with `prefix`, by code point of the key. Nothing there is no error."""

    @abstractmethod
    def read(self, key: str, limit: int | None = None) -> bytes:
        """The whole object, or its first `limit` bytes. Errors: `ObjectError`, `StorageError`."""

    @abstractmethod
    def open(self, key: str) -> BufferedIOBase:
        """A seekable reader that streams. Errors: as for `read`, some of them at the first read."""

    @abstractmethod
    def write(self, key: str, data: bytes, durable: bool = True) -> None:
        """Create or replace atomically. Many files are cheaper with `durable=False` and one `flush` before the commit."""

    @abstractmethod
    def write_if_absent(self, key: str, data: bytes) -> bool:
        """Create atomically; False, and nothing changed, when the object exists."""

    @abstractmethod
    def exists(self, key: str) -> bool:
        """Whether the object exists."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Delete; a missing object is no error."""

    @abstractmethod
    def flush(self) -> None:
        """Wait until everything written before is safe from a power cut; S3 always is."""

    def locate(self, key: str) -> str:
        """The object's full name, for people."""
        return f"{self.uri.rstrip('/')}/{key}" if key else self.uri


def open_storage(uri: str | os.PathLike[str], config: StorageConfig = DEFAULT_STORAGE) -> Storage:
    """Storage at a folder path, `file://` URI or `s3://bucket/prefix`.

    Errors: ValueError for other schemes and for URIs that carry credentials.
    """
    uri = os.fspath(uri)
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return LocalStorage(uri, config)
    bucket, _, prefix = rest.partition("/")
    if "@" in bucket:
        raise ValueError(f"the {scheme}:// URI contains credentials: leave them to the standard chain (AWS_ACCESS_KEY_ID, …)")
    if scheme == "file":
        return LocalStorage(unquote("/" + prefix), config)
    if scheme != "s3":
        raise ValueError(f"{uri!r}: {scheme}:// is not supported, use a folder or s3://bucket/prefix")
    if not bucket:
        raise ValueError(f"{uri!r} names no bucket: expected s3://bucket/prefix")
    from jobs.s3 import S3Storage

    return S3Storage(bucket, prefix.strip("/"), config)


class LocalStorage(Storage):
    """A folder. Folders are made as needed; linked files are read, linked folders are not entered."""

    def __init__(self, root: str, config: StorageConfig = DEFAULT_STORAGE):
        self.uri = root
        self._root = Path(root)
        self._fsync = config.fsync

    def _path(self, key: str) -> Path:
        if not key or key.startswith("/") or "\0" in key or ".." in key.split("/"):
            raise ValueError(f"{key!r} is no key below {self.uri}")
        return self._root / key

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        start = self._root / prefix.rpartition("/")[0]
        found = []
        for folder, _, names in os.walk(start):
            relative = Path(folder).relative_to(self._root).as_posix()
            base = "" if relative == "." else relative + "/"
            for name in names:
                key = base + name
                if not key.startswith(prefix) or name.startswith(_TEMPORARY):
                    continue
                path = Path(folder) / name
                try:
                    size = path.stat().st_size
                except OSError:  # a dangling link: whoever reads it gets the reason
                    size = 0
                else:
                    if not path.is_file():
                        continue
                found.append(ObjectInfo(key, size))
        yield from sorted(found, key=lambda info: info.key)

    def read(self, key: str, limit: int | None = None) -> bytes:
        with self.open(key) as file:
            try:
                return file.read() if limit is None else file.read(limit)
            except OSError as error:
                raise self._explain(key, error) from None

    def open(self, key: str) -> BufferedIOBase:
        path = self._path(key)
        try:
            if path.exists() and not path.is_file():  # opening a pipe would wait for ever
                raise ObjectError(f"{path}: not a regular file")
            return path.open("rb")
        except ObjectError:
            raise
        except OSError as error:
            raise self._explain(key, error) from None

    def flush(self) -> None:
        if self._fsync:
            os.sync()

    def write(self, key: str, data: bytes, durable: bool = True) -> None:
        path = self._path(key)
        sync = durable and self._fsync
        try:
            temporary = self._temporary(path, data, sync)
            try:
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            if sync:
                _sync_folder(path.parent)
        except OSError as error:
            raise self._explain(key, error) from None

    def write_if_absent(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        try:
            temporary = self._temporary(path, data, self._fsync)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            if self._fsync:
                _sync_folder(path.parent)
        except OSError as error:
            raise self._explain(key, error) from None
        return True

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            raise self._explain(key, error) from None

    def _temporary(self, path: Path, data: bytes, sync: bool) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                if sync:
                    os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        return temporary

    def _explain(self, key: str, error: OSError) -> StorageError:
        path = self._root / key
        if isinstance(error, FileNotFoundError):
            return ObjectError(f"{path}: no such file")
        if isinstance(error, PermissionError):
            return ObjectError(f"{path}: permission denied, check its owner and mode")
        if isinstance(error, NotADirectoryError | FileExistsError | IsADirectoryError):
            return StorageError(f"{path}: a file is where a folder is needed, or the other way round")
        return StorageError(f"{path}: {error.strerror or type(error).__name__}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
