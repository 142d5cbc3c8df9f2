"""Every benchmark of the project: `python -m jobs.bench NAME [--json FILE]`, `list`, or `all`.

A benchmark is a function in a module of `jobs/benchmarks/`, marked with `@benchmark("what it measures")`. It takes
`Options` and returns figures: a list of flat dicts that share their keys, printed as a table and written as JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jobs.benchmarks

Figures = list[dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """What every benchmark is told. `scale` multiplies its amount of work; `repeat` is how often a figure is taken."""

    scale: float = 1.0
    repeat: int = 1


@dataclass(frozen=True)
class Benchmark:
    """A registered benchmark."""

    name: str
    what: str
    function: Callable[[Options], Figures]
    group: str = ""


_REGISTRY: dict[str, Benchmark] = {}


def benchmark(
    what: str, name: str | None = None, group: str = ""
) -> Callable[[Callable[[Options], Figures]], Callable[[Options], Figures]]:
    """Register a function under its own name (or `name`); a `group` is run whole by its name."""

    def register(function: Callable[[Options], Figures]) -> Callable[[Options], Figures]:
        key = name or function.__name__
        if key in _REGISTRY and _REGISTRY[key].function.__module__ != function.__module__:
            raise ValueError(f"two benchmarks are called {key}")
        _REGISTRY[key] = Benchmark(key, what, function, group)
        return function

    return register


def find() -> dict[str, Benchmark]:
    """All benchmarks by name. One whose optional packages are missing is left out and named on stderr."""
    for module in pkgutil.iter_modules(jobs.benchmarks.__path__):
        try:
            importlib.import_module(f"jobs.benchmarks.{module.name}")
        except ImportError as error:
            print(f"benchmark {module.name} left out: {error}", file=sys.stderr)
    return dict(sorted(_REGISTRY.items()))


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "memory_mib": memory,
        "gpus": gpus,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_average": round(os.getloadavg()[0], 2),
    }


def table(figures: Figures) -> str:
    """Figures as aligned columns."""
    if not figures:
        return "(no figures)"
    names = list(dict.fromkeys(name for row in figures for name in row))
    cells = [names, *([_cell(row.get(name, "")) for name in names] for row in figures)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 1 when a benchmark failed, 2 when there is none of that name."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", help="a benchmark, a group of them, `list`, or `all`")
    parser.add_argument("--json", metavar="FILE", help="also write machine and figures as JSON")
    parser.add_argument("--scale", type=float, default=1.0, help="amount of work, 1 = default")
    parser.add_argument("--repeat", type=int, default=1, help="how often each figure is taken (default 1)")
    options = parser.parse_args(arguments)
    found = find()
    if options.name == "list":
        width = max(map(len, found), default=0)
        for entry in found.values():
            print(f"{entry.name:<{width}}  {entry.what}" + (f" [{entry.group}]" if entry.group else ""))
        return 0
    chosen = [entry for entry in found.values() if options.name in ("all", entry.name, entry.group)]
    if not chosen:
        groups = dict.fromkeys(entry.group for entry in found.values() if entry.group)
        print(f"no benchmark {options.name!r}: expected one of {', '.join([*found, *groups])}, list, all", file=sys.stderr)
        return 2
    results: dict[str, Any] = {}
    failed = False
    for entry in chosen:
        print(f"{entry.name}: {entry.what}", flush=True)
        start = time.perf_counter()
        try:
            figures = entry.function(Options(options.scale, options.repeat))
        except Exception as error:
            if len(chosen) == 1:
                raise
            failed = True
            print(f"failed: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        results[entry.name] = {"what": entry.what, "seconds": time.perf_counter() - start, "figures": figures}
        print(table(figures), end="\n\n", flush=True)
    if options.json:
        Path(options.json).write_text(
            json.dumps({"machine": machine(), "benchmarks": results}, indent=1) + "\n", encoding="utf-8"
        )
    return int(failed)


if __name__ == "__main__":
    # The module must be the one that benchmarks register with, not __main__.
    from jobs.bench import main as registered_main

    sys.exit(registered_main())
