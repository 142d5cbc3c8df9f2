"""What an evaluation compares with the truth: the output of a run, a folder of pictures, or a baseline made on the spot."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.names import NameTable, safe_key
from jobs.sidecars import IMAGE_SUFFIXES, stem, suffix
from jobs.sources import Sample, Shard, SourceConfig, SourceError
from jobs.storage import ObjectError, Storage, StorageConfig, open_storage
from operators.columns import RECONSTRUCT
from operators.inpaint.whole import BASELINES
from operators.types import FAILED

_UNCHANGED = "pictures that the run left as they were"


@dataclass(frozen=True)
class Result:
    """One thing to compare. `kind` is run, folder or baseline; `uri` is empty for a baseline."""

    method: str
    kind: str
    uri: str = ""
    state: str = ""

    @property
    def text(self) -> str:
        """As a shard carries it; it changes when files of the result come or go."""
        return json.dumps([self.method, self.kind, self.uri, self.state])

    @staticmethod
    def from_text(text: str) -> Result:
        """What `text` gave."""
        return Result(*json.loads(text))


def parse_result(text: str, storage: StorageConfig) -> Result:
    """`NAME=FOLDER`, or the name of a baseline (`NAME=BASELINE` renames it).

    Errors: `SourceError` when there is nothing of that name; `StorageError`.
    """
    name, mark, where = (part.strip() for part in text.partition("="))
    where = where if mark else name
    if not mark and where not in BASELINES:
        raise SourceError(f"results: {text!r}: expected NAME=FOLDER, or one of {', '.join(BASELINES)}")
    if not name or "/" in name or safe_key(name) != name:
        raise SourceError(
            f"results: {text!r}: the name before = is a plain word that names the method, and a folder of the output"
        )
    if where in BASELINES:
        return Result(name, "baseline", state=where)
    if not where:
        raise SourceError(f"results: {text!r}: no folder after =")
    files = open_storage(where, storage)
    pictures = [item for item in files.list() if suffix(item.key) in IMAGE_SUFFIXES]
    if not pictures:
        raise SourceError(f"results: {where}: no pictures there")
    run = files.exists("run.json")
    if run:
        job = json.loads(files.read("run.json")).get("job", RECONSTRUCT)
        if job != RECONSTRUCT:
            raise SourceError(f"results: {where} is the output of {job}: expected one of {RECONSTRUCT}, or a folder of pictures")
        pictures = [item for item in pictures if item.key.startswith("images/")]
    return Result(name, "run" if run else "folder", where, f"{len(pictures)} files, {sum(p.bytes for p in pictures)} bytes")


def with_results(shards: Sequence[Shard], results: Sequence[Result]) -> list[Shard]:
    """Every shard once for every result, named METHOD/SHARD."""
    return [replace(shard, name=f"{result.method}/{shard.name}", result=result.text) for result in results for shard in shards]


def result_samples(
    samples: Iterator[Sample], shard: Shard, config: SourceConfig, storage: StorageConfig, notes: Counter[str]
) -> Iterator[Sample]:
    """The samples with the result in place of the image, and the occluder that the run found.

    A picture that a run wrote no image for is taken as it went in, because that is what the run's user has of it; one that
    the run has not seen (yet), or that a folder lacks, gives a failed row.
    """
    result = Result.from_text(shard.result)
    if result.kind == "baseline":
        yield from samples
        return
    store, names, own = open_storage(result.uri, storage), NameTable(), shard.name.partition("/")[2]
    pictures, masks = _pictures(result, storage), _occluders(result, storage)
    for sample in samples:
        key = names.key(sample.name)
        wanted = [f"{own}/{key}", key] if shard.kind == "images" or result.kind == "folder" else [f"{own}/{key}"]
        wanted = [sample.name, *wanted] if result.kind == "folder" else wanted
        path = next((pictures[name] for name in wanted if name in pictures), None)
        mask = next((masks[name] for name in wanted if name in masks), None)
        try:
            if path is not None:
                sample.image, sample.source = store.read(path, config.max_image_bytes + 1), store.locate(path)
            elif result.kind == "run" and _has_seen(result, storage, wanted):
                notes[_UNCHANGED] += 1
            elif result.kind == "run":
                lost = f"the run in {result.uri} has no row of {own}/{key}: is it finished, and was this its input?"
                sample.trouble = sample.trouble or (FAILED, "MissingResultError", lost)
            else:
                lost = f"{result.uri} has no picture {sample.name}"
                sample.trouble = sample.trouble or (FAILED, "MissingResultError", lost)
            if mask is not None:
                sample.pictures["result_mask"] = store.read(mask, config.max_image_bytes + 1)
        except ObjectError as error:
            sample.trouble = FAILED, type(error).__name__, str(error)
        yield sample


def seconds_per_image(result: Result, storage: StorageConfig) -> float | None:
    """Seconds of one process that a run took for one image, by its `run.json`; None when it does not say."""
    if result.kind != "run":
        return None
    summary = json.loads(open_storage(result.uri, storage).read("run.json")).get("summary", {})
    if not summary.get("images"):
        return None
    return sum(summary.get("seconds_by_stage", {}).values()) / summary["images"]


@lru_cache(maxsize=64)
def _pictures(result: Result, storage: StorageConfig) -> dict[str, str]:
    """Pictures of a result by name: SHARD/KEY and KEY of a run, the path without suffix in a folder."""
    store = open_storage(result.uri, storage)
    if result.kind == "folder":
        return {stem(key): key for key in _image_keys(store, "")}
    return _by_name(_image_keys(store, "images/"), "images/")


def _has_seen(result: Result, storage: StorageConfig, names: Sequence[str]) -> bool:
    """Whether a run's manifests have a row under one of these names; an output without manifests cannot tell."""
    seen = _seen(result, storage)
    return not seen or not seen.isdisjoint(names)


@lru_cache(maxsize=64)
def _seen(result: Result, storage: StorageConfig) -> frozenset[str]:
    """Names of every row of a run: SHARD/KEY and KEY."""
    store = open_storage(result.uri, storage)
    names: set[str] = set()
    for item in store.list("manifest/"):
        if item.key.endswith(".parquet"):
            table = pq.read_table(pa.BufferReader(store.read(item.key)), columns=["image_id", "key"])
            names.update(table["image_id"].to_pylist(), table["key"].to_pylist())
    return frozenset(names)


@lru_cache(maxsize=64)
def _occluders(result: Result, storage: StorageConfig) -> dict[str, str]:
    """Whole-picture occluder masks that a run kept."""
    if result.kind != "run":
        return {}
    keys = [key for key in _image_keys(open_storage(result.uri, storage), "artifacts/") if key.endswith("/occluder.png")]
    found = {key.removeprefix("artifacts/").removesuffix("/occluder.png"): key for key in keys}
    return {name.partition("/")[2]: key for name, key in found.items()} | found


def _by_name(keys: list[str], folder: str) -> dict[str, str]:
    found = {stem(key.removeprefix(folder)): key for key in keys}
    return {name.partition("/")[2]: key for name, key in found.items()} | found


def _image_keys(store: Storage, prefix: str) -> list[str]:
    """Image files below a prefix; a .png wins over the same name with another suffix."""
    keys = [item.key for item in store.list(prefix) if suffix(item.key) in IMAGE_SUFFIXES]
    return sorted(keys, key=lambda key: (suffix(key) == "png", key))
