"""Samples out of each kind of shard, one at a time: a shard is never whole in memory."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.sources import IMAGE_SUFFIXES, Sample, Shard, SourceConfig, folder_of, group_sidecars, hidden, stem
from jobs.storage import ObjectError, Storage
from jobs.tar import BrokenTarError, TarMember, read_tar
from operators.types import FAILED, REJECTED

_BUFFER_BYTES = 1024 * 1024
_JSON_BYTES = 8 * 1024 * 1024
_BROKEN = "broken-shard"
_IMAGE_NAMES = ("image_bytes", "image", "img", "jpg", "jpeg", "png", "webp", "bytes", "content", "data")
_KEY_NAMES = ("key", "__key__", "image_id", "id", "name", "file_name", "filename", "path")
_MASK_NAMES = ("mask.png", "mask", "given_mask_bytes")
_JSON_NAMES = ("json", "meta_json", "metadata")


def read_images(storage: Storage, shard: Shard, config: SourceConfig, notes: Counter[str]) -> Iterator[Sample]:
    """One sample per image file, with its `.json` and `.mask.` neighbours."""
    for key, mask, text in group_sidecars(name for name, _ in shard.files):
        sample = Sample(stem(key), storage.locate(key), subject=folder_of(key) if config.subject_folder else "")
        try:
            _set_image(sample, storage.read(key, config.max_image_bytes + 1), config)
            if mask is not None:
                _set_mask(sample, storage.read(mask, config.max_image_bytes + 1), config)
            if text is not None:
                _set_json(sample, storage.read(text, _JSON_BYTES + 1), config)
        except ObjectError as error:
            sample.image, sample.trouble = b"", (FAILED, type(error).__name__, str(error))
        yield sample


def read_tar_samples(storage: Storage, shard: Shard, config: SourceConfig, notes: Counter[str]) -> Iterator[Sample]:
    """One sample per image member; neighbours with the same name and `.json` or `.mask.png` belong to it."""
    key, _ = shard.files[0]
    where = storage.locate(key)
    sample: Sample | None = None
    roles: set[str] = set()
    try:
        with storage.open(key) as raw:
            stream = gzip.GzipFile(fileobj=raw) if key.lower().endswith("gz") else raw
            for member in read_tar(stream):
                role, base = _role(member)
                if role is None or (member.kind != "file" and role != "image"):
                    if member.kind != "folder":
                        notes[_left_out(member)] += 1
                    continue
                if sample is not None and (sample.name != base or role in roles):
                    yield _complete(sample, roles)
                    sample = None
                if sample is None:
                    sample, roles = Sample(base, f"{where}::{member.name}"), set()
                _take(sample, role, member, f"{where}::{member.name}", config)
                roles.add(role)
        if sample is not None:
            yield _complete(sample, roles)
    except (BrokenTarError, ObjectError, gzip.BadGzipFile, zlib.error) as error:
        if sample is not None and roles:
            yield _complete(sample, roles)
        yield _broken(where, error)


def _role(member: TarMember) -> tuple[str | None, str]:
    """What a member is (image, mask, json or nothing) and the name of the sample that it belongs to."""
    name = re.sub(r"^(\./+)+", "", member.name)
    base = stem(name)
    suffix = name[len(base) + 1 :].lower()
    if member.kind in ("folder", "device", "pipe", "special file") or hidden(member.name):
        return None, base
    if suffix == "json":
        return "json", base
    if suffix not in IMAGE_SUFFIXES:
        return None, base
    return ("mask", base.removesuffix(".mask")) if base.endswith(".mask") else ("image", base)


def _left_out(member: TarMember) -> str:
    return "other files left out" if member.kind == "file" else f"{member.kind}s left out"


def _take(sample: Sample, role: str, member: TarMember, where: str, config: SourceConfig) -> None:
    if role == "json":
        _set_json(sample, member.read(_JSON_BYTES + 1), config)
    elif role == "mask":
        _set_mask(sample, member.read(config.max_image_bytes + 1), config)
    else:
        sample.source = where
        if member.kind != "file":
            sample.trouble = FAILED, "LinkError", f"a {member.kind} inside a tar is not followed: store the file itself"
        elif member.size > config.max_image_bytes:
            _too_large(sample, f"{member.size} bytes, the limit is {config.max_image_bytes}")
        else:
            _set_image(sample, member.read(member.size), config)


def _complete(sample: Sample, roles: set[str]) -> Sample:
    if "image" not in roles:
        sample.trouble = FAILED, "MissingImageError", f"{' and '.join(sorted(roles))} without an image of that name beside it"
    return sample


def _broken(where: str, error: Exception) -> Sample:
    message = f"the shard {error}" if isinstance(error, BrokenTarError) else f"the shard cannot be read on: {error}"
    return Sample(_BROKEN, where, trouble=(FAILED, "BrokenShardError", f"{message}; images after it are lost, write it again"))


def read_parquet(storage: Storage, shard: Shard, config: SourceConfig, notes: Counter[str]) -> Iterator[Sample]:
    """One sample per row; null images become failed rows."""
    key, _ = shard.files[0]
    where = storage.locate(key)
    try:
        with (
            storage.open(key) as stream,
            pq.ParquetFile(pa.PythonFile(stream, mode="r"), pre_buffer=False, buffer_size=_BUFFER_BYTES) as file,
        ):
            columns = _columns(file.schema_arrow, where, config)
            row = 0
            names = list(dict.fromkeys(name for name in columns.values() if name))
            for batch in file.iter_batches(batch_size=config.unit_rows, columns=names):
                for i in range(batch.num_rows):
                    values = {role: batch.column(name)[i].as_py() for role, name in columns.items() if name}
                    yield _parquet_sample(values, f"{where}::{row}", row, config)
                    row += 1
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ObjectError, ValueError) as error:
        yield _broken(where, error)
    except OSError as error:
        if type(error) is not OSError:  # StorageError: the store, not the file
            raise
        yield _broken(where, error)


def _columns(schema: pa.Schema, where: str, config: SourceConfig) -> dict[str, str | None]:
    def holds_bytes(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):  # the image column of Hugging Face data sets: struct<bytes, path>
            return kind.get_field_index("bytes") >= 0
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)

    def pick(wanted: str | None, names: tuple[str, ...]) -> str | None:
        if wanted is not None and wanted not in schema.names:
            raise ValueError(f"{where} has no column {wanted!r}, only {', '.join(schema.names)}")
        return wanted or next((name for name in names if name in schema.names), None)

    binary = [field.name for field in schema if holds_bytes(field.type)]
    mask = pick(config.mask_column, tuple(name for name in _MASK_NAMES if name in binary))
    image = pick(config.image_column, tuple(name for name in _IMAGE_NAMES if name in binary))
    if image is None:
        rest = [name for name in binary if name != mask]
        if len(rest) != 1:
            raise ValueError(f"{where}: cannot tell which column holds the image ({', '.join(schema.names)}): set image_column")
        image = rest[0]
    return {
        "image": image,
        "mask": mask,
        "key": pick(config.key_column, tuple(name for name in _KEY_NAMES if name not in binary)),
        "json": pick(config.json_column, _JSON_NAMES),
        "subject": config.subject_field if config.subject_field in schema.names else None,
    }


def _parquet_sample(values: dict[str, Any], where: str, row: int, config: SourceConfig) -> Sample:
    def encoded(value: Any) -> bytes | None:
        return value.get("bytes") if isinstance(value, dict) else value

    key = values.get("key")
    name = f"{row:08d}" if key is None else stem(str(key)) if _is_image_name(str(key)) else str(key)
    sample = Sample(name, where)
    text = values.get("json")
    if text is not None:
        _set_json(sample, text if isinstance(text, bytes) else _as_text(text).encode("utf-8", "replace"), config)
    if values.get("subject") is not None:
        sample.subject = str(values["subject"])
    mask = encoded(values.get("mask"))
    if mask is not None:
        _set_mask(sample, mask, config)
    image = encoded(values["image"])
    if image is None:
        sample.trouble = FAILED, "MissingImageError", "the image is null"
    else:
        _set_image(sample, image, config)
    return sample


def _is_image_name(name: str) -> bool:
    return name.rpartition(".")[2].lower() in IMAGE_SUFFIXES


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)


def _set_image(sample: Sample, data: bytes, config: SourceConfig) -> None:
    if len(data) > config.max_image_bytes:
        _too_large(sample, f"more than {config.max_image_bytes} bytes")
    else:
        sample.image = data


def _set_mask(sample: Sample, data: bytes, config: SourceConfig) -> None:
    if len(data) > config.max_image_bytes:
        _too_large(sample, f"a mask of more than {config.max_image_bytes} bytes")
    else:
        sample.mask = data


def _set_json(sample: Sample, data: bytes, config: SourceConfig) -> None:
    """Kept as it is; what cannot be parsed names nobody."""
    if len(data) > _JSON_BYTES:
        _too_large(sample, f"JSON of more than {_JSON_BYTES} bytes")
        return
    sample.meta_json = data.decode("utf-8", "backslashreplace")
    try:
        value = json.loads(sample.meta_json)
    except (ValueError, RecursionError):
        return
    if isinstance(value, dict) and isinstance(value.get(config.subject_field), str | int):
        sample.subject = str(value[config.subject_field])


def _too_large(sample: Sample, what: str) -> None:
    sample.trouble = REJECTED, "ImageTooLargeError", f"{what}: shrink the file or raise max_image_bytes"
