"""How a run is spread over processes. Nothing here changes an output byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operators.types import OperatorConfig, option


@dataclass(frozen=True)
class PoolConfig(OperatorConfig):
    """One pool of actors. Whatever is left out is computed from the cluster that is found."""

    size: int | None = option(None, "actors, fixed; none = from the cluster")
    min_size: int | None = option(None, "fewest actors of a pool that grows and shrinks; use with max_size instead of size")
    max_size: int | None = option(None, "most actors of a pool that grows and shrinks")
    num_cpus: float | None = option(None, "CPUs that one actor reserves, fractions allowed; none = from the cluster")
    num_gpus: float | None = option(None, "GPUs that one actor reserves, fractions allowed; none = from the cluster")
    memory_mb: int | None = option(None, "memory that one actor reserves, MiB; none = nothing reserved")

    def __post_init__(self) -> None:
        if self.size is not None and (self.min_size is not None or self.max_size is not None):
            raise ValueError("size and min_size/max_size exclude each other")
        for name in ("size", "min_size", "max_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.min_size is not None and self.max_size is not None and self.min_size > self.max_size:
            raise ValueError(f"min_size {self.min_size} is larger than max_size {self.max_size}")
        for name in ("num_cpus", "num_gpus", "memory_mb"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")


@dataclass(frozen=True)
class PoolsConfig(OperatorConfig):
    """`worker` is the pool of `kind: fused`; the others are those of `kind: pools`, each job has some of them."""

    worker: PoolConfig = PoolConfig()
    read: PoolConfig = PoolConfig()
    decode: PoolConfig = PoolConfig()
    detect: PoolConfig = PoolConfig()
    landmark: PoolConfig = PoolConfig()
    align: PoolConfig = PoolConfig()
    segment: PoolConfig = PoolConfig()
    fit: PoolConfig = PoolConfig()
    render: PoolConfig = PoolConfig()
    hole: PoolConfig = PoolConfig()
    inpaint: PoolConfig = PoolConfig()
    paste: PoolConfig = PoolConfig()
    artifacts: PoolConfig = PoolConfig()
    mask: PoolConfig = PoolConfig()
    pair: PoolConfig = PoolConfig()
    sheet: PoolConfig = PoolConfig()
    baseline: PoolConfig = PoolConfig()
    pixels: PoolConfig = PoolConfig()
    perceptual: PoolConfig = PoolConfig()
    features: PoolConfig = PoolConfig()
    choose: PoolConfig = PoolConfig()
    identity: PoolConfig = PoolConfig()
    write: PoolConfig = PoolConfig()


@dataclass(frozen=True)
class ExecutionConfig(OperatorConfig):
    """Where operators run: in a plain loop, in whole-shard actors or in one actor pool per operator."""

    kind: Literal["inline", "fused", "pools"] = option(
        "fused", "inline = plain loop without Ray; fused = an actor does a whole shard; pools = one actor pool per operator"
    )
    address: str | None = option(None, "Ray cluster to join; none = the one that RAY_ADDRESS names, else a local one is started")
    device: Literal["auto", "cpu", "cuda"] = option(
        "auto", "where operators that can use a GPU run; auto = cuda where there is one"
    )
    threads: int = option(1, "threads that torch, OpenCV and numba use in each process")
    write_threads: int = option(8, "objects that one writer stores at the same time")
    object_store_mb: int | None = option(None, "shared memory of a local Ray, MiB; none = a quarter of the memory, at most 2048")
    no_progress_timeout_s: int = option(300, "a run in which nothing moves for so long is ended")
    progress_every_s: float = option(10.0, "seconds between progress lines when the output is not a terminal")
    report_images: int = option(500, "images shown in report.html; 0 = no report")
    pools: PoolsConfig = option(PoolsConfig(), "actor pools")

    def __post_init__(self) -> None:
        for name in ("threads", "write_threads", "no_progress_timeout_s"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
