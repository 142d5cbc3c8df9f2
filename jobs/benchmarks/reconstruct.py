"""The whole default job, the same photos through each kind of execution, each in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from jobs.bench import Figures, Options, benchmark

_KINDS = ("inline", "fused", "pools")
_IMAGES = 24


def make_photos(folder: Path, count: int) -> None:
    """People who do not exist, with masks on: PNG files in `folder`."""
    from jobs.config import load
    from jobs.job_configs import SynthesizeConfig
    from jobs.run import execute, prepare

    with tempfile.TemporaryDirectory() as made:
        fields = {"input": f"people:{count}", "output": made, "execution.kind": "inline"}
        execute(prepare(load(SynthesizeConfig, None, list(fields.items()))))
        folder.mkdir(parents=True)
        for about in sorted(Path(made).glob("samples/*/*.json")):
            shutil.copy(about.with_suffix(".png"), folder)


def run_job(photos: Path, out: Path, kind: str) -> dict[str, Any]:
    """Run the job in a process of its own; its summary, and its wall time from command to exit."""
    flags = {"input": photos, "output": out, "execution.kind": kind, "source.unit_rows": 8, "source.images_per_shard": 8}
    command = [sys.executable, "-m", "jobs.reconstruct", "--execution.report_images", "0"]
    command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall_s = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{kind} ended with exit code {done.returncode}: {done.stderr[-2000:]}")
    return {**json.loads((out / "run.json").read_text())["summary"], "wall_s": wall_s}


@benchmark("images/s of the whole default job on synthetic masked faces: inline, fused and pools side by side")
def reconstruct(options: Options) -> Figures:
    """Rates count from the start of the job (Ray included) to its last commit; `vs_inline` is the ratio of rates."""
    figures: Figures = []
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        make_photos(photos, max(1, round(_IMAGES * options.scale)))
        runs = [
            (kind, run_job(photos, Path(folder) / f"{kind}-{turn}", kind)) for turn in range(options.repeat) for kind in _KINDS
        ]
        rates = {kind: max(summary["images_per_s"] for name, summary in runs if name == kind) for kind in _KINDS}
        for kind, summary in runs:
            figures.append(
                {
                    "kind": kind,
                    "images": summary["images"],
                    "faces": summary["faces"],
                    "images_per_s": summary["images_per_s"],
                    "vs_inline": rates[kind] / rates["inline"] if rates["inline"] else 0.0,
                    "wall_s": summary["wall_s"],
                    "stage_s": sum(summary["seconds_by_stage"].values()),
                    "peak_rss_mib": summary["peak_rss_bytes"] / 2**20,
                    "all_processes_mib": summary["peak_rss_sum_bytes"] / 2**20,
                    "processes": summary["processes"],
                }
            )
    return figures
