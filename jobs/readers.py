"""Samples out of each kind of shard, one at a time: a shard is never whole in memory."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.drawn_people import draw_people
from jobs.sidecars import IMAGE_SUFFIXES, PICTURE_ROLES, folder_of, group_files, split_role, stem, suffix
from jobs.sources import Sample, Shard, SourceConfig, hidden
from jobs.storage import ObjectError, Storage, StorageConfig, open_storage
from jobs.tar import BrokenTarError, TarMember, read_tar
from operators.images import ImageError, decode_rgb, encode
from operators.types import FAILED, REJECTED

_BUFFER_BYTES = 1024 * 1024
_JSON_BYTES = 8 * 1024 * 1024
_BROKEN = "broken-shard"
_IMAGE_NAMES = ("image_bytes", "image", "img", "jpg", "jpeg", "png", "webp", "bytes", "content", "data")
_KEY_NAMES = ("key", "__key__", "image_id", "id", "name", "file_name", "filename", "path")
_MASK_NAMES = ("mask.png", "mask", "given_mask_bytes")
_TRUTH_NAMES = ("truth.png", "truth", "truth_bytes")
_ALPHA_NAMES = ("alpha.png", "alpha", "given_alpha_bytes")
_JSON_NAMES = ("json", "meta_json", "metadata")


def read_samples(
    shard: Shard, storage: StorageConfig, config: SourceConfig, roles: frozenset[str], notes: Counter[str]
) -> Iterator[Sample]:
    """The samples of a shard in order; of pictures beside an image only those of these roles are read."""
    if shard.kind == "people":
        samples = read_people(shard, config)
    else:
        read = {"images": read_images, "tar": read_tar_samples, "parquet": read_parquet}[shard.kind]
        samples = read(open_storage(shard.root, storage), shard, config, roles, notes)
    if shard.kind == "images":
        samples = with_side_folders(samples, config, roles, storage)
    if shard.result:
        from jobs.results import result_samples

        samples = result_samples(samples, shard, config, storage, notes)
    labels = {name: (subject, group) for name, subject, group in shard.labels}
    for sample in samples:
        if sample.name in labels:
            sample.subject, sample.group = labels[sample.name]
        if config.hole_colour == "black" and sample.pictures.get("mask"):
            sample.pictures["mask"] = inverted(sample.pictures["mask"])
        yield sample


def read_images(
    storage: Storage, shard: Shard, config: SourceConfig, roles: frozenset[str], notes: Counter[str]
) -> Iterator[Sample]:
    """One sample per image file, with its neighbours."""
    for group in group_files(name for name, _ in shard.files):
        key = group.image
        sample = Sample(stem(key), storage.locate(key), subject=folder_of(key) if config.subject_folder else "")
        try:
            _set_image(sample, storage.read(key, config.max_image_bytes + 1), config)
            for role, path in group.pictures.items():
                if role in roles:
                    _set_picture(sample, role, storage.read(path, config.max_image_bytes + 1), config)
            if group.text is not None:
                _set_json(sample, storage.read(group.text, _JSON_BYTES + 1), config)
        except ObjectError as error:
            sample.image, sample.trouble = b"", (FAILED, type(error).__name__, str(error))
        yield sample


def read_people(shard: Shard, config: SourceConfig) -> Iterator[Sample]:
    """One drawn portrait per name, with its JSON."""
    numbers = [int(name.rpartition("-")[2]) for name, _ in shard.files]
    for (name, _), (image, text) in zip(shard.files, draw_people(numbers), strict=True):
        sample = Sample(name, f"{name} (drawn)", image)
        _set_json(sample, text.encode(), config)
        yield sample


def with_side_folders(
    samples: Iterator[Sample], config: SourceConfig, roles: frozenset[str], storage: StorageConfig
) -> Iterator[Sample]:
    """Samples with the pictures that lie under the same name in the folders `masks` and `truths`."""
    folders = {"mask": config.masks, "truth": config.truths}
    wanted = {role: uri for role, uri in folders.items() if uri and role in roles}
    sides = {role: (open_storage(uri, storage), images_by_name(uri, storage)) for role, uri in wanted.items()}
    for sample in samples:
        for role, (store, names) in sides.items():
            path = names.get(sample.name)
            if path is not None:
                try:
                    _set_picture(sample, role, store.read(path, config.max_image_bytes + 1), config)
                except ObjectError as error:
                    sample.image, sample.trouble = b"", (FAILED, type(error).__name__, str(error))
        yield sample


@lru_cache(maxsize=64)
def images_by_name(uri: str, storage: StorageConfig) -> dict[str, str]:
    """Image files below a folder by their name without suffix; one listing for each process."""
    keys = sorted((item.key for item in open_storage(uri, storage).list()), reverse=True)
    return {stem(key): key for key in keys if suffix(key) in IMAGE_SUFFIXES and not hidden(key)}


def inverted(data: bytes) -> bytes:
    """The mask with black and white exchanged; bytes that are no picture stay, for whoever decodes them to complain."""
    try:
        return encode(255 - decode_rgb(data).max(-1), "PNG")
    except ImageError:
        return data


def read_tar_samples(
    storage: Storage, shard: Shard, config: SourceConfig, wanted: frozenset[str], notes: Counter[str]
) -> Iterator[Sample]:
    """One sample per image member; neighbours with the same name and `.json`, `.mask.png`, `.truth.png` … belong to it."""
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
                if role not in PICTURE_ROLES or role in wanted:
                    _take(sample, role, member, f"{where}::{member.name}", config)
                roles.add(role)
        if sample is not None:
            yield _complete(sample, roles)
    except (BrokenTarError, ObjectError, gzip.BadGzipFile, zlib.error) as error:
        if sample is not None and roles:
            yield _complete(sample, roles)
        yield _broken(where, error)


def _role(member: TarMember) -> tuple[str | None, str]:
    """What a member is (image, a picture's role, json or nothing) and the name of the sample that it belongs to."""
    name = re.sub(r"^(\./+)+", "", member.name)
    base = stem(name)
    kind = name[len(base) + 1 :].lower()
    if member.kind in ("folder", "device", "pipe", "special file") or hidden(member.name):
        return None, base
    if kind == "json":
        return "json", base
    if kind not in IMAGE_SUFFIXES:
        return None, base
    owner, role = split_role(base)
    return (role or "image"), owner


def _left_out(member: TarMember) -> str:
    return "other files left out" if member.kind == "file" else f"{member.kind}s left out"


def _take(sample: Sample, role: str, member: TarMember, where: str, config: SourceConfig) -> None:
    if role == "json":
        _set_json(sample, member.read(_JSON_BYTES + 1), config)
    elif role in PICTURE_ROLES:
        _set_picture(sample, role, member.read(config.max_image_bytes + 1), config)
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


def read_parquet(
    storage: Storage, shard: Shard, config: SourceConfig, roles: frozenset[str], notes: Counter[str]
) -> Iterator[Sample]:
    """One sample per row; null images become failed rows."""
    key, _ = shard.files[0]
    where = storage.locate(key)
    try:
        with (
            storage.open(key) as stream,
            pq.ParquetFile(pa.PythonFile(stream, mode="r"), pre_buffer=False, buffer_size=_BUFFER_BYTES) as file,
        ):
            columns = {
                role: name
                for role, name in _columns(file.schema_arrow, where, config).items()
                if role not in PICTURE_ROLES or role in roles
            }
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
        rest = [name for name in binary if name not in (mask, *_TRUTH_NAMES, *_ALPHA_NAMES)]
        if len(rest) != 1:
            raise ValueError(f"{where}: cannot tell which column holds the image ({', '.join(schema.names)}): set image_column")
        image = rest[0]
    return {
        "image": image,
        "mask": mask,
        "key": pick(config.key_column, tuple(name for name in _KEY_NAMES if name not in binary)),
        "json": pick(config.json_column, _JSON_NAMES),
        "truth": pick(None, tuple(name for name in _TRUTH_NAMES if name in binary)),
        "alpha": pick(None, tuple(name for name in _ALPHA_NAMES if name in binary)),
        "subject": config.subject_field if config.subject_field in schema.names else None,
        "group": config.group_field if config.group_field in schema.names else None,
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
    if values.get("group") is not None:
        sample.group = str(values["group"])
    for role in PICTURE_ROLES:
        data = encoded(values.get(role))
        if data is not None:
            _set_picture(sample, role, data, config)
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


def _set_picture(sample: Sample, role: str, data: bytes, config: SourceConfig) -> None:
    if len(data) > config.max_image_bytes:
        _too_large(sample, f"a {role} of more than {config.max_image_bytes} bytes")
    else:
        sample.pictures[role] = data


def _set_json(sample: Sample, data: bytes, config: SourceConfig) -> None:
    """Kept as it is; what cannot be parsed names nobody."""
    if len(data) > _JSON_BYTES:
        sample.trouble = (
            REJECTED,
            "JsonTooLargeError",
            f"JSON of more than {_JSON_BYTES} bytes beside it: shorten it or take it away",
        )
        return
    sample.meta_json = data.decode("utf-8", "backslashreplace")
    try:
        value = json.loads(sample.meta_json)
    except (ValueError, RecursionError):
        return
    if not isinstance(value, dict):
        return
    if isinstance(value.get(config.subject_field), str | int):
        sample.subject = str(value[config.subject_field])
    if isinstance(value.get(config.group_field), str | int):
        sample.group = str(value[config.group_field])


def _too_large(sample: Sample, what: str) -> None:
    sample.trouble = REJECTED, "ImageTooLargeError", f"{what}: shrink the file or raise max_image_bytes"
