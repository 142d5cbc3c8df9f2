"""Every job from its config to the last commit: plan it, do the work that is left, record the figures."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from jobs import ledger
from jobs.config import ConfigError, JobConfig, fingerprint_of
from jobs.ledger import Done
from jobs.plan import (
    Stage,
    asset_hashes,
    asset_names,
    convert_checkpoints,
    operator_versions,
    plan_stages,
    refuse_licences,
)
from jobs.progress import Tally
from jobs.ray_binding import Item, cluster_of_this_machine, joins_cluster, plan_pools, run_units
from jobs.sidecars import group_files
from jobs.sources import Shard, list_shards
from jobs.storage import Storage, open_storage
from jobs.worker import Work

_PACKAGES = ("unmask", "ray", "torch", "numpy", "opencv-python-headless", "pillow", "pyarrow", "numba", "scipy")


@dataclass
class Prepared:
    """Everything that is known of a run before it starts. Nothing has been written yet."""

    config: JobConfig
    stages: tuple[Stage, ...]
    identity: dict[str, Any]
    storage: Storage
    shards: list[Shard]
    done: dict[str, Done]
    licences: list[str] = field(default_factory=list)
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self.fingerprint = fingerprint_of(self.identity)

    @property
    def items(self) -> list[Item]:
        """Shards with work left, each with the parts that are done."""
        blank = Done()
        there = [(shard, self.done.get(shard.name, blank)) for shard in self.shards]
        return [(shard, frozenset(done.parts)) for shard, done in there if not done.complete]

    @property
    def skipped(self) -> int:
        """Units of this input that are committed already."""
        return sum(len(self.done[shard.name].parts) for shard in self.shards if shard.name in self.done)

    @property
    def images_left(self) -> int | None:
        """Images still to do, where the listing tells; tars and Parquet files do not say how many they hold."""
        rows = self.config.source.unit_rows
        if any(shard.kind not in ("images", "people") for shard in self.shards):
            return None
        return sum(max(_count(shard) - rows * len(done), 0) for shard, done in self.items)


def prepare(config: JobConfig, stages: Sequence[Stage] | None = None) -> Prepared:
    """Plan a run: list the input, list what is committed, refuse what does not fit.

    Errors: `ConfigError`, `LedgerError`, `StorageError`.
    """
    missing = [f"{name}: say where, with --{name}" for name in ("input", "output") if not getattr(config, name)]
    if missing:
        raise ConfigError("\n".join(missing))
    try:
        storage = open_storage(config.output, config.storage)
    except ValueError as error:
        raise ConfigError(f"output: {error}") from None
    chosen = tuple(stages) if stages is not None else plan_stages(config)
    licences = refuse_licences(chosen, config.accepted)
    identity = config.fingerprinted(operator_versions(chosen), asset_hashes(chosen))
    convert_checkpoints(chosen)
    try:
        shards = config.expand(list_shards(config.input, config.storage, config.source))
    except ValueError as error:
        raise ConfigError(f"input: {error}") from None
    done = ledger.committed(storage)
    prepared = Prepared(config, chosen, identity, storage, shards, done, licences)
    ledger.open_run(storage, _run_record(prepared), write=False)
    ledger.check_inputs(storage, shards, done, write=False)
    return prepared


def execute(prepared: Prepared, on_unit: Callable[[Tally], None] | None = None) -> Tally:
    """Do the work that is left. Committed units stay whatever happens; running again goes on from there."""
    if asset_names(prepared.stages):
        from jobs.assets import ensure

        ensure(asset_names(prepared.stages))
    ledger.open_run(prepared.storage, _run_record(prepared))
    ledger.check_inputs(prepared.storage, prepared.shards, prepared.done)
    tally, started = Tally(), time.monotonic()
    work = Work(prepared.config, prepared.stages, prepared.fingerprint)
    try:
        if prepared.items:
            with closing(run_units(work, prepared.items)) as reports:
                for report in reports:
                    tally.add(report)
                    if on_unit is not None:
                        on_unit(tally)
    finally:
        ledger.close_run(prepared.storage, summary_of(tally, time.monotonic() - started, prepared.skipped))
    return tally


def summary_of(tally: Tally, elapsed_s: float, skipped: int) -> dict[str, Any]:
    """The figures of one session, for `run.json`."""
    return {
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "images": tally.images,
        "faces": tally.faces,
        "rows_by_status": dict(sorted(tally.rows.items())),
        "units": tally.units,
        "units_skipped": skipped,
        "elapsed_s": round(elapsed_s, 3),
        "images_per_s": round(tally.images / elapsed_s, 3) if elapsed_s else 0.0,
        "seconds_by_stage": {name: round(seconds, 3) for name, seconds in tally.seconds.items()},
        "read_bytes": tally.read_bytes,
        "written_bytes": tally.written_bytes,
        "peak_rss_bytes": max(tally.peaks.values(), default=0),
        "peak_rss_sum_bytes": sum(tally.peaks.values()),
        "processes": len(tally.peaks),
    }


def describe(prepared: Prepared) -> str:
    """The plan for `--dry-run`: what would be read, how it would run, what would be written."""
    config = prepared.config
    by_kind = sorted({shard.kind for shard in prepared.shards})
    size = sum(shard.bytes for shard, _ in prepared.items)
    images = prepared.images_left
    lines = [
        f"read   {config.input}",
        f"       {len(prepared.shards)} shards of {', '.join(by_kind)}, {len(prepared.items)} with work left: "
        + (f"{images} images, " if images is not None else "")
        + f"{size / 2**20:.1f} MiB; units of {config.source.unit_rows} images",
        f"write  {config.output}",
        f"       {prepared.skipped} units committed already; {config.writes} manifest/ commits/ timings/ run.json report.html",
        f"       fingerprint {prepared.fingerprint[:16]}",
        f"run    {config.execution.kind}, {config.execution.threads} thread(s) per process",
    ]
    if config.execution.kind != "inline" and not joins_cluster(config.execution):
        for pool in plan_pools(config.execution, prepared.stages, cluster_of_this_machine(), len(prepared.items)):
            lines.append(f"       pool {pool.name:<10} {pool.text}")
    elif config.execution.kind != "inline":
        lines.append("       pools are sized by the cluster that is found when the run starts")
    lines.append("stages")
    for stage in prepared.stages:
        batch = getattr(stage.config, "batch_size", None)
        notes = [
            f"batches of {batch}" if batch else "unit by unit",
            "GPU if there is one" if stage.operator.info.wants_gpu else "CPU",
        ]
        notes += [f"then forgets {', '.join(stage.drops)}"] if stage.drops else []
        lines.append(f"       {stage.section:<10} {stage.version:<24} {'; '.join(notes)}")
    lines += ["licences", *(f"       {line}" for line in prepared.licences)] if prepared.licences else []
    lines.append("assets")
    lines += _asset_lines(prepared)
    return "\n".join(lines)


def _count(shard: Shard) -> int:
    if shard.kind == "people":
        return len(shard.files)
    return len(group_files(name for name, _ in shard.files))


def _asset_lines(prepared: Prepared) -> list[str]:
    names = asset_names(prepared.stages)
    lines = []
    if names:
        from operators.assets import AssetStore

        store = AssetStore()
        here = {name: "present" if store.has(name) else "missing, would be fetched" for name in names}
        lines = [f"       {name:<24} sha256 {store.entry(name).sha256[:16]}  {here[name]}" for name in names]
    files = {name: sha for name, sha in prepared.identity["assets"].items() if name not in names}
    return lines + [f"       {name:<24} sha256 {sha[:16]}  present" for name, sha in files.items()] or ["       none"]


def _run_record(prepared: Prepared) -> dict[str, Any]:
    return {
        "format": 1,
        "job": prepared.config.job,
        "fingerprint": prepared.fingerprint,
        "identity": prepared.identity,
        "config": prepared.config.resolved(),
        "versions": {"python": platform.python_version(), **_package_versions()},
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _package_versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
