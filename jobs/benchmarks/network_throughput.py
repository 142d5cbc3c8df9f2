"""Networks of the source projects where there is a GPU: images per second, and how near they come to what it can do."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from jobs.bench import Figures, Options, benchmark
from jobs.benchmarks.networks import CONFIGS, scene
from jobs.plan import OPERATORS
from operators.checkpoints.registry import system_of
from operators.inpaint.base import FillInput
from operators.inpaint.network import Precision

PEAK_SIDE = {"cuda": 8192, "cpu": 1024}


@benchmark("inpainting networks on the fastest device: images/s at 256 and 512 px, share of the arithmetic peak", group="gpu")
def network_throughput(options: Options) -> Figures:
    """On a CPU: one face, 256 px, float32. On a GPU: batches of 16 in float32 and bfloat16.

    `share_of_peak` is the convolutions' and products' arithmetic, as counted by torch, over the rate of one large product of
    matrices in the same precision, measured in the same run.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sides, faces = ((256, 512), 16) if device == "cuda" else ((256,), 1)
    kinds: tuple[Precision, ...] = ("float32", "bfloat16") if device == "cuda" else ("float32",)
    figures: Figures = []
    for precision in kinds:
        peak = peak_flops(device, precision)
        for config in CONFIGS:
            system, made = system_of(config.system), OPERATORS[type(config)]
            chosen = replace(config, precision=precision, batch_size=faces)
            operator = made(chosen, device=device, network=system.build(system.untrained()))
            for side in sides:
                given = on(scene(faces, side), device)
                with torch.inference_mode(), FlopCounterMode(display=False) as counted:
                    operator.fill(given)
                taken = seconds(operator, given, device, options.repeat + 1)
                figures.append({
                    "system": config.system,
                    "precision": precision,
                    "side_px": side,
                    "batch": faces,
                    "images_per_s": round(faces / taken, 2),
                    "gflop_per_image": round(counted.get_total_flops() / faces / 1e9, 1),
                    "share_of_peak": round(counted.get_total_flops() / taken / peak, 3),
                    "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
                })  # fmt: skip
            del operator
    return figures


def on(given: FillInput, device: str) -> FillInput:
    """The same input on a device."""
    tensors = {name: getattr(given, name) for name in given.__dataclass_fields__ if name != "seeds"}
    return replace(given, **{name: None if value is None else value.to(device) for name, value in tensors.items()})


def peak_flops(device: str, precision: Precision) -> float:
    """Operations per second of one large product of square matrices, the best of five."""
    side = PEAK_SIDE[device]
    a, b = (torch.rand(side, side, device=device, dtype=getattr(torch, precision)) for _ in range(2))
    best = min(_timed(lambda: a @ b, device) for _ in range(6))
    return 2 * side**3 / best


@torch.inference_mode()
def seconds(operator: object, given: FillInput, device: str, repeat: int) -> float:
    """Least seconds of one `fill`, after one that warms up."""
    work = operator.fill  # type: ignore[attr-defined]
    work(given)
    return min(_timed(lambda: work(given), device) for _ in range(repeat))


def _timed(work, device: str) -> float:  # type: ignore[no-untyped-def]
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
