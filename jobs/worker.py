"""What every process of a run does, with or without Ray: read units, take them through operators, write them."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.config import JobConfig
from jobs.ledger import UnitReport, commit_unit
from jobs.plan import Stage, asset_names, operator_versions, prune
from jobs.sidecars import PICTURE_ROLES
from jobs.sources import Shard, Unit, read_units
from jobs.storage import open_storage
from operators.arrow import from_table, to_table
from operators.batch import Batch
from operators.pipeline import apply

Seconds = dict[str, float]


@dataclass(frozen=True)
class Work:
    """What each process is told about the run; sent to actors as it is."""

    config: JobConfig
    stages: tuple[Stage, ...]
    fingerprint: str

    @property
    def roles(self) -> frozenset[str]:
        """Which pictures beside an image some operator reads."""
        wanted = {name for stage in self.stages for name in stage.operator.info.reads}
        left = {"mask"} if self.config.source.ignore_masks else set()
        return frozenset(role for role, column in PICTURE_ROLES.items() if column in wanted) - left

    @property
    def versions(self) -> dict[str, str]:
        """Section -> operator@version, as the manifest records it."""
        return operator_versions(self.stages)


def set_threads(count: int) -> None:
    """The number of threads that numeric libraries use in this process: results may depend on it, so it is one everywhere."""
    import cv2
    import numba
    import torch

    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    numba.set_num_threads(min(count, numba.get_num_threads()))


def keep_freed_memory() -> None:
    """Let glibc reuse large buffers instead of giving each back to the system and asking for it again (mallopt(3)).

    Networks and whole crops take and free tens of megabytes all the time, and every new page costs a fault.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    most, m_trim_threshold, m_mmap_threshold = 2**31 - 1, -1, -3
    libc = ctypes.CDLL(None)
    libc.mallopt(m_mmap_threshold, most)
    libc.mallopt(m_trim_threshold, most)


def pick_device(wanted: str) -> str:
    """The device of `execution.device` in this process."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


class Runner:
    """Some stages of the plan, loaded once and applied to unit after unit."""

    def __init__(self, work: Work, stages: Sequence[Stage]):
        set_threads(work.config.execution.threads)
        keep_freed_memory()
        device = pick_device(work.config.execution.device) if any(s.operator.info.wants_gpu for s in stages) else "cpu"
        assets = open_assets(stages)
        self.stages = [(stage, stage.build(assets, device)) for stage in stages]

    def __call__(self, batch: Batch, seconds: Seconds) -> Batch:
        """The batch after these stages; the time each took is added to `seconds`."""
        for stage, operator in self.stages:
            start = time.perf_counter()
            batch = prune(apply(operator, batch), stage)
            seconds[stage.section] = seconds.get(stage.section, 0.0) + time.perf_counter() - start
        return batch


def open_assets(stages: Sequence[Stage]) -> Any:
    """The asset store of this node, for stages that need one."""
    names = asset_names(stages)
    if not names:
        return None
    from jobs.assets import ensure

    return ensure(names)


def read(work: Work, shard: Shard, done: frozenset[int]) -> Iterator[tuple[Unit, Seconds]]:
    """The shard's units that are not committed yet, each with the time that reading took."""
    start = time.perf_counter()
    for unit in read_units(shard, work.config.storage, work.config.source, work.roles):
        if unit.part not in done:
            yield unit, {"read": time.perf_counter() - start}
        start = time.perf_counter()


def write(work: Work, unit: Unit, seconds: Seconds, read_bytes: int) -> UnitReport:
    """Commit a unit and tell what became of it."""
    start = time.perf_counter()
    storage = open_storage(work.config.output, work.config.storage)
    config = work.config
    threads = config.execution.write_threads
    rows, written = commit_unit(storage, unit, work.fingerprint, work.versions, seconds, threads, config.job, config.packed)
    return UnitReport(
        shard=unit.shard,
        part=unit.part,
        rows=dict(rows),
        faces=unit.batch.n_faces,
        read_bytes=read_bytes,
        written_bytes=written,
        seconds={**seconds, "write": time.perf_counter() - start},
        process=f"{socket.gethostname()}:{os.getpid()}",
        peak_rss_bytes=peak_rss_bytes(),
        notes=unit.notes,
    )


def encoded_bytes(batch: Batch) -> int:
    """Bytes of the batch's encoded input images."""
    return sum(len(data) for data in batch.rows["image_bytes"] if data)


class ShardWorker:
    """Takes whole shards from reading to the last commit inside one process."""

    def __init__(self, work: Work):
        self.work = work
        self.runner = Runner(work, work.stages)

    def units(self, shard: Shard, done: frozenset[int]) -> Iterator[UnitReport]:
        """Commits the shard's open units one after the other and tells of each."""
        for unit, seconds in read(self.work, shard, done):
            size = encoded_bytes(unit.batch)
            batch = self.runner(unit.batch, seconds)
            yield write(self.work, replace(unit, batch=batch), seconds, size)


# a unit as one Arrow row: whatever cuts blocks by rows or bytes cannot cut a unit ------------------------------------
def unit_to_table(unit: Unit, seconds: Seconds, read_bytes: int) -> pa.Table:
    """One row; the images are the elements of its `rows` list, with the columns of `to_table`."""
    table = to_table(unit.batch).combine_chunks()
    columns = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
    rows = pa.StructArray.from_arrays(columns, fields=list(table.schema))
    head = {"part": unit.part, "last": unit.last, "notes": unit.notes, "seconds": seconds, "read_bytes": read_bytes}
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return pa.table(
        {
            "shard": [unit.shard],
            "head": [json.dumps(head)],
            "metadata": [json.dumps(metadata)],
            "rows": pa.LargeListArray.from_arrays(pa.array([0, len(rows)], pa.int64()), rows),
        }
    )


def unit_from_table(table: pa.Table) -> tuple[Unit, Seconds, int]:
    """What `unit_to_table` made. Errors: RuntimeError when a block does not hold exactly one unit."""
    if table.num_rows != 1:
        raise RuntimeError(f"a block holds {table.num_rows} units, expected 1: Ray Data cut or merged blocks")
    head: Mapping[str, Any] = json.loads(table["head"][0].as_py())
    lists = table["rows"].chunk(0)
    rows = lists.values.slice(lists.offsets[0].as_py(), lists.offsets[1].as_py() - lists.offsets[0].as_py())
    batch = pa.RecordBatch.from_struct_array(rows).replace_schema_metadata(json.loads(table["metadata"][0].as_py()))
    unit = Unit(
        table["shard"][0].as_py(), head["part"], head["last"], from_table(pa.Table.from_batches([batch])), tuple(head["notes"])
    )
    return unit, dict(head["seconds"]), head["read_bytes"]


def peak_rss_bytes() -> int:
    """Largest resident set of this process so far; not, as getrusage has it, of the one that started it."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
