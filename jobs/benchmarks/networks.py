"""Networks of the source projects, with random weights: seconds per image as published (plain modules) and as used here."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from jobs.bench import Figures, Options, benchmark
from jobs.plan import OPERATORS
from operators.checkpoints.registry import system_of
from operators.inpaint.base import FillInput
from operators.inpaint.edgeconnect import EdgeConnectInpainterConfig
from operators.inpaint.facefill3d import FaceFillInpainterConfig
from operators.inpaint.lama import LamaInpainterConfig
from operators.inpaint.mat import MatInpainterConfig
from operators.inpaint.network import NetworkInpainterConfig
from operators.inpaint.tfill import TfillInpainterConfig

CONFIGS: tuple[NetworkInpainterConfig, ...] = (
    EdgeConnectInpainterConfig(),
    LamaInpainterConfig(),
    MatInpainterConfig(),
    TfillInpainterConfig(),
    FaceFillInpainterConfig(),
)
# Seconds of one CPU thread per 256 px image, batch 1 and 4, of the official code with random weights (EdgeConnect: both
# generators; LaMa: big-lama; TFill: coarse and refine). Taken once on two cores of another day, with other jobs beside.
OFFICIAL_CPU_S = {"edgeconnect": (1.16, 1.33), "lama": (0.84, 0.89), "mat": (3.0, 4.4), "tfill": (0.87, 1.02)}
BATCHES = (1, 4)


@benchmark("inpainting networks with random weights: CPU seconds per image, plain modules against what the job runs")
def networks(options: Options) -> Figures:
    """Batch 1 and 4 at 256 px. `plain` runs the same adapter on the modules as they are built, all faces in one batch."""
    figures: Figures = []
    for config in CONFIGS:
        system = system_of(config.system)
        made = OPERATORS[type(config)]
        plain = type("Plain", (made,), {"prepare": lambda self, network: network})
        official = system.untrained()
        for faces in BATCHES:
            given = scene(faces, round(256 * options.scale))
            before = seconds(plain(config, network=system.build(official)).paint, given, options.repeat)
            after = seconds(made(config, network=system.build(official)).fill, given, options.repeat)
            known = dict(zip(BATCHES, OFFICIAL_CPU_S.get(config.system, ()), strict=False)).get(faces)
            figures.append({
                "system": config.system,
                "batch": faces,
                "plain_cpu_s": round(before, 3),
                "ours_cpu_s": round(after, 3),
                "plain_over_ours": round(before / after, 2),
                "official_cpu_s": known,
                "official_over_ours": round(known / after, 2) if known and options.scale == 1 else None,
            })  # fmt: skip
    return figures


@torch.inference_mode()
def seconds(work: Callable[[FillInput], torch.Tensor], given: FillInput, repeat: int) -> float:
    """Least CPU seconds per face of `repeat` + 1 runs after one that warms up."""
    work(given)
    taken = []
    for _ in range(repeat + 1):
        start = time.process_time()
        work(given)
        taken.append(time.process_time() - start)
    return min(taken) / len(given.image)


def scene(faces: int, side: int) -> FillInput:
    """Noise with a hole where a mask sits, and everything that a system may ask for."""
    random = torch.Generator().manual_seed(0)
    image = torch.rand((faces, 3, side, side), generator=random)
    hole = torch.zeros(faces, side, side, dtype=torch.bool)
    hole[:, side // 2 : side * 7 // 8, side // 4 : side * 3 // 4] = True
    return FillInput(
        image=torch.where(hole[:, None], 0.5, image),
        hole=hole,
        seeds=torch.arange(faces),
        edges=torch.rand((faces, side, side), generator=random) < 0.05,
        prior=image,
        prior_mask=torch.ones_like(hole),
        visible_face=~hole,
        valid=torch.ones_like(hole),
    )
