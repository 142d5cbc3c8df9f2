"""What is done, told from the output alone.

Names follow from shard and key. A unit's images and artifacts come first, then its manifest, then its commit record: a
unit without one does not exist for readers. Names of commit records say all that a resume needs, so one listing is enough:

    images/SHARD/KEY.png   artifacts/SHARD/KEY/NAME   manifest/SHARD/00000.parquet   timings/SHARD/00000.json
    samples/SHARD/KEY.png, KEY.mask.png, KEY.truth.png, … or packed samples/SHARD-00000.tar
    commits/SHARD/00000.json, and commits/SHARD/00007.last.json for the last unit of a shard
    run.json   resolved config, fingerprint, versions, timings;   inputs.json   fingerprint of every shard that was begun

Only `run.json` and `timings/` hold times; all else is byte-identical between runs.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from jobs.sources import Shard, Unit
from jobs.storage import Storage
from jobs.tar import tar_bytes
from operators.arrow import manifest_bytes, to_manifest
from operators.columns import RECONSTRUCT

_COMMIT = re.compile(r"commits/(?P<shard>.+)/(?P<part>\d{5,})(?P<last>\.last)?\.json")
RUN, INPUTS = "run.json", "inputs.json"


class LedgerError(ValueError):
    """The output belongs to another run: the message shows the difference and what to do."""


@dataclass
class Done:
    """Committed units of one shard."""

    parts: set[int] = field(default_factory=set)
    last: int | None = None

    @property
    def complete(self) -> bool:
        """Whether every unit up to the last one is committed."""
        return self.last is not None and len(self.parts) == self.last + 1


@dataclass(frozen=True)
class UnitReport:
    """What became of a unit, for progress and the summary. It is not part of the output."""

    shard: str
    part: int
    rows: Mapping[str, int]
    faces: int
    read_bytes: int
    written_bytes: int
    seconds: Mapping[str, float]
    process: str
    peak_rss_bytes: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """As one line of JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> UnitReport:
        """What `to_json` wrote."""
        values = json.loads(text)
        return UnitReport(**{**values, "notes": tuple(values["notes"])})


def image_name(shard: str, key: str, data: bytes) -> str:
    """Name of a restored image; the suffix follows from its content."""
    suffix = "png" if data[:4] == b"\x89PNG" else "webp" if data[:4] == b"RIFF" else "jpg"
    return f"images/{shard}/{key}.{suffix}"


def tar_name(shard: str, part: int) -> str:
    """Name of the tar with a unit's training samples."""
    return f"samples/{shard}-{part:05d}.tar"


def manifest_name(shard: str, part: int) -> str:
    """Name of a unit's manifest."""
    return f"manifest/{shard}/{part:05d}.parquet"


def commit_name(shard: str, part: int, last: bool) -> str:
    """Name of a unit's commit record."""
    return f"commits/{shard}/{part:05d}{'.last' if last else ''}.json"


def committed(storage: Storage) -> dict[str, Done]:
    """Committed units by shard, from one listing."""
    done: dict[str, Done] = {}
    for item in storage.list("commits/"):
        match = _COMMIT.fullmatch(item.key)
        if match is None:
            continue
        shard = done.setdefault(match["shard"], Done())
        shard.parts.add(int(match["part"]))
        if match["last"]:
            shard.last = int(match["part"])
    return done


def open_run(storage: Storage, run: Mapping[str, Any], write: bool = True) -> None:
    """Claim the output for a run (`fingerprint`, `identity`, …), or join the same one that was there before.

    Errors: `LedgerError` when the output holds another run's results.
    """
    if not storage.exists(RUN) and (not write or storage.write_if_absent(RUN, _pretty(run))):
        return
    there = json.loads(storage.read(RUN))
    if there.get("fingerprint") == run["fingerprint"]:
        return
    lines = differences(there.get("identity", {}), run["identity"])
    raise LedgerError(
        f"{storage.uri} holds results of another configuration; nothing was changed. What differs (there -> now):\n"
        + "\n".join(f"  {line}" for line in lines)
        + "\nChoose another --output, or use the configuration that is in its run.json."
    )


def close_run(storage: Storage, summary: Mapping[str, Any]) -> None:
    """Put a finished (or stopped) session's figures into `run.json`; one that had nothing to do leaves those of the last."""
    run = json.loads(storage.read(RUN))
    if summary.get("units") or "summary" not in run:
        run["summary"] = dict(summary)
        storage.write(RUN, _pretty(run))


def check_inputs(storage: Storage, shards: Sequence[Shard], done: Mapping[str, Done], write: bool = True) -> None:
    """Remember the shards' fingerprints; refuse shards that changed after part of them was committed.

    Errors: `LedgerError` naming the shards.
    """
    known: dict[str, str] = json.loads(storage.read(INPUTS)) if storage.exists(INPUTS) else {}
    changed = [s.name for s in shards if s.name in done and known.get(s.name, s.fingerprint) != s.fingerprint]
    if changed:
        names = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        raise LedgerError(
            f"{names}: files of these input shards were added, removed or resized after results of them were committed to "
            f"{storage.uri}. Choose another --output, or add new images as new shards (tars, Parquet files)."
        )
    merged = {**known, **{shard.name: shard.fingerprint for shard in shards}}
    if write and merged != known:
        storage.write(INPUTS, json.dumps(merged, sort_keys=True, indent=0).encode())


def commit_unit(
    storage: Storage,
    unit: Unit,
    fingerprint: str,
    versions: Mapping[str, str],
    seconds: Mapping[str, float],
    threads: int,
    job: str = RECONSTRUCT,
    pack: bool = False,
) -> tuple[Counter[str], int]:
    """Write everything of a unit, the commit record last. Returns rows by status, and bytes written.

    Training samples (`sample_bytes`) become files beside each other, or with `pack` one tar for the unit.
    """
    batch, shard = unit.batch, unit.shard
    objects: dict[str, bytes] = {}
    packed: dict[str, bytes] = {}
    listed: list[list[dict[str, Any]]] = []
    for i, key in enumerate(batch.rows["key"]):
        files: dict[str, bytes] = {}
        restored = batch.rows["restored_bytes"][i]
        if restored:
            path = image_name(shard, key, restored)
            files[f"restored.{path.rpartition('.')[2]}"] = restored
            objects[path] = restored
        items = [{"name": name, "path": image_name(shard, key, data), **_digest(data)} for name, data in files.items()]
        for name, data in sorted((batch.rows["artifact_bytes"][i] or {}).items()):
            path = f"artifacts/{shard}/{key}/{name}"
            objects[path] = data
            items.append({"name": name, "path": path, **_digest(data)})
        for suffix, data in sorted((batch.rows["sample_bytes"][i] or {}).items()):
            path = f"samples/{shard}/{key}.{suffix}"
            packed[f"{key}.{suffix}"] = data
            items.append({"name": f"sample.{suffix}", "path": tar_name(shard, unit.part) if pack else path, **_digest(data)})
            if not pack:
                objects[path] = data
        listed.append(items)
    if pack and packed:
        objects[tar_name(shard, unit.part)] = tar_bytes(packed)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda item: storage.write(*item), objects.items()))
    manifest = manifest_bytes(to_manifest(batch, artifacts=listed, config_fingerprint=fingerprint, versions=versions, job=job))
    storage.write(manifest_name(shard, unit.part), manifest)
    storage.write(f"timings/{shard}/{unit.part:05d}.json", _pretty({name: round(s, 4) for name, s in seconds.items()}))
    statuses = Counter(batch.rows["status"])
    record = {
        "shard": shard,
        "part": unit.part,
        "last": unit.last,
        "rows": dict(sorted(statuses.items())),
        "faces": batch.n_faces,
        "objects": len(objects),
        "manifest": manifest_name(shard, unit.part),
        "manifest_sha256": hashlib.sha256(manifest).hexdigest(),
        "fingerprint": fingerprint,
        "notes": list(unit.notes),
    }
    storage.write(commit_name(shard, unit.part, unit.last), _pretty(record))
    return statuses, sum(len(data) for data in objects.values()) + len(manifest)


def differences(there: Any, now: Any, path: str = "") -> list[str]:
    """One line per value that differs, by its path."""
    if isinstance(there, dict) and isinstance(now, dict):
        names: Iterable[str] = sorted({*there, *now})
        return [line for name in names for line in differences(there.get(name), now.get(name), f"{path}.{name}".lstrip("."))]
    return [] if there == now else [f"{path.removeprefix('config.')}: {_short(there)} -> {_short(now)}"]


def _short(value: Any) -> str:
    text = "(none)" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"


def _digest(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
