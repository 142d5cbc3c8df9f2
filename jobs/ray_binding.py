"""The whole of Ray Data: shards -> read -> actor pools -> write -> one report per committed unit.

Both plans are `from_items(shards).map_batches(...)`. `fused`: one pool whose actors take whole shards through everything.
`pools`: a pool to read, one per operator, one to write; what crosses between them is one Arrow row per unit, and
`target_max_block_size = 1` makes Ray Data emit every row as a block of its own, at once. So a unit is never cut, never
merged and never waits for its shard.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from jobs.execution import ExecutionConfig, PoolConfig
from jobs.ledger import UnitReport
from jobs.plan import Stage
from jobs.sources import Shard
from jobs.worker import Runner, ShardWorker, Work, encoded_bytes, read, unit_from_table, unit_to_table, write

# What pools reserve together, so that Ray's own tasks always find a CPU: pools that hold all of them hang (ray #44687).
_CPU_SHARE = 0.9
_REPORT = "report"
Item = tuple[Shard, frozenset[int]]


class FusedActor:
    """Shards in, one report per committed unit out."""

    def __init__(self, work: Work):
        self.worker = ShardWorker(work)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        for shard, done in _items(table):
            for report in self.worker.units(shard, done):
                yield pa.table({_REPORT: [report.to_json()]})


class ReadActor:
    """Shards in, units out."""

    def __init__(self, work: Work):
        self.work = work

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        for shard, done in _items(table):
            for unit, seconds in read(self.work, shard, done):
                yield unit_to_table(unit, seconds, encoded_bytes(unit.batch))


class StageActor:
    """A unit in, the same unit after one stage out."""

    def __init__(self, work: Work, stages: Sequence[Stage]):
        self.runner = Runner(work, stages)

    def __call__(self, table: pa.Table) -> pa.Table:
        unit, seconds, size = unit_from_table(table)
        batch = self.runner(unit.batch, seconds)
        return unit_to_table(replace(unit, batch=batch), seconds, size)


class WriteActor:
    """A unit in, its report out once it is committed."""

    def __init__(self, work: Work):
        self.work = work

    def __call__(self, table: pa.Table) -> pa.Table:
        unit, seconds, size = unit_from_table(table)
        return pa.table({_REPORT: [write(self.work, unit, seconds, size).to_json()]})


def _items(table: pa.Table) -> Iterator[Item]:
    for text in table["item"].to_pylist():
        values = json.loads(text)
        files, labels = (tuple(tuple(part) for part in values["shard"].pop(name)) for name in ("files", "labels"))
        yield Shard(**values["shard"], files=files, labels=labels), frozenset(values["done"])


@dataclass(frozen=True)
class Pool:
    """One pool as it will be asked of Ray: fixed `size`, or `min_size` to `max_size`."""

    name: str
    min_size: int
    max_size: int
    num_cpus: float
    num_gpus: float
    memory_mb: int | None

    @property
    def text(self) -> str:
        """For people: `2 x (0.45 CPU)`."""
        size = str(self.min_size) if self.min_size == self.max_size else f"{self.min_size}–{self.max_size}"
        parts = [f"{self.num_cpus:g} CPU"] + ([f"{self.num_gpus:g} GPU"] if self.num_gpus else [])
        return f"{size} x ({', '.join(parts + ([f'{self.memory_mb} MiB'] if self.memory_mb else []))})"


def plan_pools(execution: ExecutionConfig, stages: Sequence[Stage], cluster: Mapping[str, float], n_shards: int) -> list[Pool]:
    """The pools of this plan on a cluster with these `CPU` and `GPU` totals; reservations always fit them.

    Errors: ValueError when GPUs are asked for that a cluster without autoscaling does not have.
    """
    cpus, gpus = max(cluster.get("CPU", 1.0), 1.0), cluster.get("GPU", 0.0) if execution.device != "cpu" else 0.0
    wants = [stage.section for stage in stages if stage.operator.info.wants_gpu and gpus]
    if execution.kind == "fused":
        names, gpu_users, cpu_size = ["worker"], ["worker"] if wants else [], int(cpus)
    else:
        names = ["read", *(stage.section for stage in stages), "write"]
        gpu_users, cpu_size = wants, int(cpus // len(names))
    pools = []
    for name in names:
        asked: PoolConfig = getattr(execution.pools, name)
        on_gpu = name in gpu_users
        size = max(1, min(n_shards if name in ("worker", "read") else 10**6, int(gpus) if on_gpu else cpu_size))
        low = asked.size or asked.min_size or min(size, asked.max_size or size)
        high = asked.size or asked.max_size or max(low, low if asked.min_size is None else size)
        share = round(1.0 / len(gpu_users), 4) - 1e-4 if on_gpu and len(gpu_users) > 1 else float(on_gpu)
        num_gpus = asked.num_gpus if asked.num_gpus is not None else share
        num_cpus = asked.num_cpus if asked.num_cpus is not None else 1.0
        pools.append(Pool(name, low, high, num_cpus, num_gpus, asked.memory_mb))
    wanted = sum(pool.min_size * pool.num_cpus for pool in pools)
    scale = min(1.0, _CPU_SHARE * cpus / wanted) if wanted else 1.0
    return [replace(pool, num_cpus=int(pool.num_cpus * scale * 1e4) / 1e4 if scale < 1 else pool.num_cpus) for pool in pools]


def cluster_of_this_machine() -> dict[str, float]:
    """CPUs and GPUs that a local Ray would find, without starting it."""
    import torch

    return {"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(torch.cuda.device_count())}


def joins_cluster(execution: ExecutionConfig) -> bool:
    """Whether the run joins a Ray cluster that is already there instead of starting a local one."""
    return bool(execution.address or os.environ.get("RAY_ADDRESS"))


@contextmanager
def ray_session(execution: ExecutionConfig) -> Iterator[Mapping[str, float]]:
    """Ray for the time of a run: the cluster of `address` or RAY_ADDRESS, else a local one that only loopback can reach."""
    joined = joins_cluster(execution)
    if not joined:
        # Read when ray is imported: without it every port listens on all interfaces and runs whatever it is sent.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else every pool prints a line of core_worker.cc
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if ray.is_initialized():
        yield ray.cluster_resources()
        return
    if joined:
        ray.init(address=execution.address, **quiet)
    else:
        memory = execution.object_store_mb or min(2048, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**22)
        here = cluster_of_this_machine()
        ray.init(
            address="local",
            num_cpus=int(here["CPU"]),
            include_dashboard=False,
            object_store_memory=memory * 2**20,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    try:
        yield ray.cluster_resources()
    finally:
        ray.shutdown()


def run_units(work: Work, items: Sequence[Item]) -> Generator[UnitReport, None, None]:
    """Take the shards through the plan; a report comes as soon as its unit is committed.

    Errors: whatever a process raised that is not about one row (`StorageError` and the like), unwrapped.
    """
    execution = work.config.execution
    if execution.kind == "inline":
        worker = ShardWorker(work)
        for shard, done in items:
            yield from worker.units(shard, done)
        return
    with ray_session(execution) as cluster:
        import ray.data
        from ray.exceptions import RayError

        _configure(ray.data.DataContext.get_current(), execution)
        pools = {pool.name: pool for pool in plan_pools(execution, work.stages, cluster, len(items))}
        rows = [{"item": json.dumps({"shard": asdict(shard), "done": sorted(done)})} for shard, done in items]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        if execution.kind == "fused":
            dataset = _through(dataset, FusedActor, pools["worker"], work)
        else:
            dataset = _through(dataset, ReadActor, pools["read"], work)
            for stage in work.stages:
                dataset = _through(dataset, StageActor, pools[stage.section], work, (stage,))
            dataset = _through(dataset, WriteActor, pools["write"], work)
        try:
            for batch in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                yield from (UnitReport.from_json(text) for text in batch[_REPORT].to_pylist())
        except RayError as error:
            raise _cause(error) from error


def _through(dataset: Any, actor: type, pool: Pool, *arguments: Any) -> Any:
    import ray.data

    same = pool.min_size == pool.max_size
    sizes: dict[str, Any] = {"size": pool.min_size} if same else {"min_size": pool.min_size, "max_size": pool.max_size}
    return dataset.map_batches(
        actor,
        fn_constructor_args=arguments,
        batch_size=1 if pool.num_gpus else None,  # one unit either way, but Ray Data refuses GPUs without a number
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(**sizes),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
        memory=pool.memory_mb * 2**20 if pool.memory_mb else None,
    )


def _configure(context: Any, execution: ExecutionConfig) -> None:
    context.target_max_block_size = 1
    context.target_min_block_size = 1
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.max_errored_blocks = 0  # > 0 drops whole units silently, and hangs when an actor dies (ray #62746)
    context.actor_init_retry_on_errors = False  # a missing file stays missing
    context.max_consecutive_actor_init_deaths = 3
    context.execution_no_progress_timeout_s = execution.no_progress_timeout_s
    for name in ("ray.data", "ray"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _cause(error: BaseException) -> BaseException:
    """What the actor raised, out of Ray's wrappers."""
    seen: BaseException | None = error
    while seen is not None:
        inner = getattr(seen, "cause", None)
        if isinstance(inner, BaseException) and type(inner).__module__.split(".")[0] != "ray":
            return inner
        seen = inner if isinstance(inner, BaseException) else seen.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # A constructor's error comes as the text of its traceback only.
    return RuntimeError(f"a worker could not start: {lines[-1]}") if "creation task" in str(error) else error
