"""Inputs become shards, shards become units: the batches that a pipeline works on.

Three kinds of input, each local or on S3: a folder, glob or single file of images; WebDataset tars (`key.jpg` with optional
`key.json`, `key.mask.png`, `key.truth.png` and `key.alpha.png`); Parquet with a column of encoded images; and `people:COUNT`,
portraits of people who do not exist. Listing and reading are
deterministic: the same input gives the same shards, keys, rows and units.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jobs.drawn_people import people_in, person_name
from jobs.image_lists import Labels, chosen_labels
from jobs.names import NameTable, printable, safe_key
from jobs.sidecars import IMAGE_SUFFIXES, PICTURE_ROLES, folder_of, group_files, stem, suffix
from jobs.storage import DEFAULT_STORAGE, ObjectInfo, Storage, StorageConfig, StorageError, open_storage
from operators.batch import Batch
from operators.types import OperatorConfig, option

_TAR = re.compile(r"\.(tar|tar\.gz|tgz)$", re.IGNORECASE)
_PARQUET = re.compile(r"\.(parquet|pq)$", re.IGNORECASE)
OPERATOR = "source"


class SourceError(StorageError):
    """The input as a whole cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class SourceConfig(OperatorConfig):
    """What is read, and how it is cut into shards and units."""

    kind: Literal["auto", "images", "tar", "parquet"] = option("auto", "kind of input; auto = by the names of the files")
    images_per_shard: int = option(64, "images of a folder that make one shard; shards are what processes share out")
    unit_rows: int = option(32, "images that go through the pipeline together")
    unit_bytes: int = option(256 * 1024 * 1024, "encoded bytes after which a unit is closed early")
    max_image_bytes: int = option(256 * 1024 * 1024, "images with more encoded bytes are rejected without being read")
    image_column: str | None = option(None, "Parquet: column with the encoded image; none = found by type and name")
    key_column: str | None = option(None, "Parquet: column with the name of the image; none = found by name, else the row number")
    mask_column: str | None = option(None, "Parquet: column with an encoded mask; none = found by name, if there is one")
    json_column: str | None = option(None, "Parquet: column with JSON text; none = found by name, if there is one")
    subject_field: str = option("subject", "field of the sample's JSON, or Parquet column, that says who is shown")
    subject_folder: bool = option(False, "images: the folder that a photo lies in says who is shown, unless its JSON does")
    group_field: str = option("group", "field of the sample's JSON, or Parquet column, that says to which group it belongs")
    image_list: str | None = option(None, "images: CSV with columns file, subject, group, split; only its images are read")
    split: str = option("", "with image_list: read only images of this split (or of these: train,val); empty = of all")
    masks: str | None = option(None, "images: folder or s3:// URI with masks of the same names; none = x.mask.png beside x")
    truths: str | None = option(None, "images: the same for pictures without the mask; none = x.truth.png beside x")
    ignore_masks: bool = option(False, "leave masks that come with the input aside: the job finds them by itself")
    hole_colour: Literal["white", "black"] = option("white", "what marks the occluder, the part to fill, in given masks")

    def __post_init__(self) -> None:
        for name in ("images_per_shard", "unit_rows", "unit_bytes", "max_image_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Shard:
    """One piece of the input that is worked on, committed and resumed as a whole.

    `root` is what `open_storage` takes; `files` are the objects below it with their sizes. `labels` says image name, subject
    and group where a list does. `result` is what an evaluation compares with the truth: a run, a folder or a baseline's name.
    """

    name: str
    kind: str
    root: str
    files: tuple[tuple[str, int], ...]
    labels: tuple[tuple[str, str, str], ...] = ()
    result: str = ""

    @property
    def bytes(self) -> int:
        """Bytes to read."""
        return sum(size for _, size in self.files)

    @property
    def fingerprint(self) -> str:
        """Changes when files of the shard are added, removed, renamed or resized."""
        parts: list[Any] = [self.kind, [[printable(name), size] for name, size in self.files]]
        text = json.dumps(parts + [list(extra) for extra in (self.labels, self.result) if extra])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Sample:
    """One image as its source delivers it; `trouble` is status, reason class and message when it cannot be used."""

    name: str
    source: str
    image: bytes = b""
    pictures: dict[str, bytes] = field(default_factory=dict)
    meta_json: str = ""
    subject: str = ""
    group: str = ""
    trouble: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Unit:
    """Consecutive rows of one shard. The `last` one may have no rows and carries notes on what was left out."""

    shard: str
    part: int
    last: bool
    batch: Batch
    notes: tuple[str, ...] = ()


def list_shards(uri: str, storage: StorageConfig = DEFAULT_STORAGE, config: SourceConfig = SourceConfig()) -> list[Shard]:
    """All shards of an input, in order of their names.

    Errors: `SourceError` when there is nothing to read or the kind is ambiguous; `StorageError`.
    """
    drawn = people_in(uri)
    if drawn is not None:
        return _people_shards(*drawn, config)
    root, files = _find(uri, storage)
    tars = [file for file in files if _TAR.search(file.key)]
    parquets = [file for file in files if _PARQUET.search(file.key)]
    images = [file for file in files if suffix(file.key) in IMAGE_SUFFIXES]
    found = {kind: members for kind, members in (("images", images), ("tar", tars), ("parquet", parquets)) if members}
    kind = config.kind
    if kind == "auto":
        if len(found) > 1:
            counts = ", ".join(f"{len(members)} {name}" for name, members in found.items())
            raise SourceError(f"{uri}: found {counts}: choose one with --source.kind")
        kind = next(iter(found), "")
    if kind not in found:
        what = {"images": "no images", "tar": "no .tar files", "parquet": "no .parquet files"}
        wanted = what.get(kind, "no images, .tar or .parquet files")
        raise SourceError(f"{uri}: {wanted} found ({len(files)} other files): check the path")
    if kind == "images":
        for name, where in (("masks", config.masks), ("truths", config.truths)):
            if where and not any(suffix(file.key) in IMAGE_SUFFIXES for file in open_storage(where, storage).list()):
                raise SourceError(f"source.{name}: no pictures in {where}: check the path")
        labels = chosen_labels(config.image_list, config.split, storage) if config.image_list else None
        return _image_shards(uri, root, files, config, labels)
    if config.image_list:
        raise SourceError(f"{uri}: a list names images of a folder, and this input is of kind {kind}")
    for field_name in ("masks", "truths"):
        if getattr(config, field_name):
            raise SourceError(f"{uri}: source.{field_name} belongs to a folder of images, and this input is of kind {kind}")
    shards: dict[str, Shard] = {}
    for file in found[kind]:
        # One path component, so that no shard's outputs lie inside another's.
        name = safe_key(re.sub(r"\.(tar|parquet)$", "", file.key, flags=re.IGNORECASE)).replace("/", "~")
        while name.casefold() in shards:
            name += "~2"
        shards[name.casefold()] = Shard(name, kind, root, ((file.key, file.bytes),))
    return sorted(shards.values(), key=lambda shard: shard.name)


def read_units(
    shard: Shard,
    storage: StorageConfig = DEFAULT_STORAGE,
    config: SourceConfig = SourceConfig(),
    roles: Collection[str] = ("mask",),
) -> Iterator[Unit]:
    """The rows of a shard in order, `unit_rows` at a time; the last unit says so.

    Of the pictures beside an image only those of `roles` are read.
    An image that cannot be read becomes a row that says why; a shard that breaks yields what came before and one failed row.
    Errors: `StorageError` when the store fails: the shard should be tried again.
    """
    from jobs import readers

    notes: Counter[str] = Counter()
    names = NameTable()
    samples: list[Sample] = []
    part = row = size = 0
    for sample in readers.read_samples(shard, storage, config, frozenset(roles), notes):
        if samples and (len(samples) >= config.unit_rows or size >= config.unit_bytes):
            full, samples = _cut(samples, sample)
            yield Unit(shard.name, part, False, _batch(shard, full, names, row))
            row, part, size = row + len(full), part + 1, sum(len(kept.image) for kept in samples)
        samples.append(sample)
        size += len(sample.image)
    counted = tuple(f"{what}: {count}" for what, count in sorted(notes.items()))
    yield Unit(shard.name, part, True, _batch(shard, samples, names, row), counted)


def _cut(samples: list[Sample], following: Sample) -> tuple[list[Sample], list[Sample]]:
    """What makes a unit, and what goes into the next: photos of one subject stay together unless they fill a unit."""
    start = len(samples)
    while start and following.subject and samples[start - 1].subject == following.subject:
        start -= 1
    return (samples[:start], samples[start:]) if start else (samples, [])


def _batch(shard: Shard, samples: list[Sample], names: NameTable, row: int) -> Batch:
    columns: dict[str, Any] = {
        "row": np.arange(row, row + len(samples), dtype=np.int32),
        "source": [printable(sample.source).replace("\0", "\\0") for sample in samples],
        "subject": [printable(sample.subject) for sample in samples],
        "meta_json": [sample.meta_json for sample in samples],
        "group": [printable(sample.group) for sample in samples],
        **{column: [sample.pictures.get(role) for sample in samples] for role, column in PICTURE_ROLES.items()},
        "image_sha256": [hashlib.sha256(sample.image).hexdigest() if sample.image else "" for sample in samples],
    }
    if shard.result:
        columns |= _result_columns(shard, samples)
    keys = [names.key(sample.name) for sample in samples]
    batch = Batch.from_images([sample.image for sample in samples], keys, shard.name, **columns)
    for i, sample in enumerate(samples):
        if sample.trouble:
            status, kind, message = sample.trouble
            batch.mark_row(i, status, OPERATOR, kind, printable(message).replace("\0", "\\0"))
    return batch


def _result_columns(shard: Shard, samples: list[Sample]) -> dict[str, Any]:
    """What an evaluation's rows say beside the pictures: method, baseline, and what they are compared with."""
    from jobs.results import Result

    result = Result.from_text(shard.result)
    digests = {
        f"{role}_sha256": [hashlib.sha256(data).hexdigest() if (data := s.pictures.get(role)) else "" for s in samples]
        for role in ("truth", "mask")
    }
    return {
        "method": [result.method] * len(samples),
        "baseline": [result.state if result.kind == "baseline" else ""] * len(samples),
        "result_mask_bytes": [sample.pictures.get("result_mask") for sample in samples],
        **digests,
    }


def _image_shards(uri: str, root: str, files: list[ObjectInfo], config: SourceConfig, labels: Labels | None) -> list[Shard]:
    """Sorted images in groups of `images_per_shard`, each with the files beside it."""
    groups = group_files(file.key for file in files)
    if labels is not None:
        groups = [group for group in groups if stem(group.image) in labels]
        if not groups:
            raise SourceError(
                f"{uri}: none of the {len(labels)} images of {config.image_list} is here: files are named from this folder"
            )
    sizes = {file.key: file.bytes for file in files}
    shards: list[Shard] = []
    start = 0
    while start < len(groups):
        end = _shard_end([group.image for group in groups], start, config)
        entries = tuple((key, sizes[key]) for group in groups[start:end] for key in group.files)
        names = [stem(group.image) for group in groups[start:end]]
        own = tuple((name, *labels[name]) for name in names) if labels is not None else ()
        shards.append(Shard(f"images-{len(shards):06d}", "images", root, entries, own))
        start = end
    return shards


def _people_shards(count: int, first: int, config: SourceConfig) -> list[Shard]:
    """Drawn people in groups of `images_per_shard`."""
    names = [(person_name(number), 0) for number in range(first, first + count)]
    if not names:
        raise SourceError("people:0: nobody to draw")
    groups = [names[start : start + config.images_per_shard] for start in range(0, count, config.images_per_shard)]
    return [Shard(f"people-{first + k * config.images_per_shard:06d}", "people", "", tuple(g)) for k, g in enumerate(groups)]


def _shard_end(keys: list[str], start: int, config: SourceConfig) -> int:
    """Where the shard that begins at `start` ends: a subject's folder goes whole into one, unless it is larger than a shard."""
    end = min(start + config.images_per_shard, len(keys))
    if config.subject_folder and end < len(keys):
        cut = end
        while cut > start and folder_of(keys[cut - 1]) and folder_of(keys[cut - 1]) == folder_of(keys[end]):
            cut -= 1
        end = cut if cut > start else end
    return end


def _find(uri: str, config: StorageConfig) -> tuple[str, list[ObjectInfo]]:
    """Root of the input and the files of it, sorted, hidden ones left out."""
    local = "://" not in uri or uri.startswith("file://")
    path = Path(uri.removeprefix("file://"))
    if local and not path.exists() and not re.search(r"[*?\[]", uri):
        raise SourceError(f"{uri}: no such file or folder")
    if local and path.is_file():
        return str(path.parent), [ObjectInfo(path.name, path.stat().st_size)]
    if re.search(r"[*?\[]", uri) and not (local and path.exists()):
        if re.match(r"s3://[^/]*[*?\[]", uri):
            raise SourceError(f"{uri}: a pattern cannot stand in the name of the bucket")
        fixed = re.split(r"[*?\[]", uri, maxsplit=1)[0].rpartition("/")[0] + "/"
        root, pattern = (fixed.rstrip("/") or "/", uri[len(fixed) :]) if fixed != "/" or uri.startswith("/") else (".", uri)
        matches = _glob(pattern)
        storage = open_storage(root, config)
        return root, [file for file in _visible(storage) if matches.fullmatch(file.key)]
    storage = open_storage(uri, config)
    files = _visible(storage)
    if not files and not local and "/" in uri.removeprefix("s3://").rstrip("/"):
        root, _, name = uri.rpartition("/")  # an s3:// URI may name one object
        files = [file for file in open_storage(root, config).list(name) if file.key == name]
        return root, files
    return uri, files


def _visible(storage: Storage) -> list[ObjectInfo]:
    files = (file for file in storage.list() if not hidden(file.key))
    return sorted(files, key=lambda file: file.key)


def hidden(name: str) -> bool:
    """Whether a file is one that tools leave behind: `.DS_Store`, `._photo.jpg`, `__MACOSX/…`."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in name.split("/"))


def _glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` stay inside one folder, `**/` is any number of folders, `[…]` one of these characters."""
    parts = re.findall(r"\*\*/|\*\*|\*|\?|\[!?[^]]*\]|.", pattern, re.DOTALL)
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    regex = [
        special.get(part)
        or (
            "[" + part[1:-1].replace("\\", "\\\\").replace("!", "^", 1) + "]"
            if len(part) > 2 and part[0] == "["
            else re.escape(part)
        )
        for part in parts
    ]
    return re.compile("".join(regex), re.DOTALL)
