"""Segment Anything with random weights: SamPredictor's loop against batched prediction, side by side in one run.

python -m jobs.bench sam
python -m jobs.benchmarks.sam --models vit_h --sides 1024 --precisions bfloat16 --images 16
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam

from jobs.bench import Figures, Options, benchmark, table
from operators.networks.sam import VIT_B, Sizes, build, untrained
from operators.networks.sam_encoder import at_side
from operators.segment.sam_predict import Precision, Prompt, SamBatch

_SMALL = replace(VIT_B, image=256, width=64, depth=2, heads=4, mlp=256, global_blocks=(1,))
TINY = replace(_SMALL, channels=64, decoder_mlp=128, iou_width=64)
MODELS = {
    "tiny": TINY,
    "vit_b": VIT_B,
    "vit_l": replace(VIT_B, width=1024, depth=24, heads=16, mlp=4096, global_blocks=(5, 11, 17, 23)),
    "vit_h": replace(VIT_B, width=1280, depth=32, heads=16, mlp=5120, global_blocks=(7, 15, 23, 31)),
}
BF16_FLOPS_PER_S = 9.9e14
"""One H200, dense bfloat16, from its data sheet."""


def flops(sizes: Sizes) -> float:
    """Multiplications and additions of the encoder's matrix products for one image."""
    grid = sizes.image // sizes.patch
    tokens, width = grid * grid, sizes.width
    linear = 2 * tokens * width * (4 * width + 2 * sizes.mlp)
    windows = math.ceil(grid / sizes.window) ** 2 if sizes.window else 0
    everywhere, within = 4 * tokens**2 * width, 4 * windows * sizes.window**4 * width
    blocks = sizes.depth * linear + len(sizes.global_blocks) * everywhere + (sizes.depth - len(sizes.global_blocks)) * within
    ends = 2 * tokens * (3 * sizes.patch**2 * width + width * sizes.channels + 9 * sizes.channels**2)
    return float(blocks + ends)


def scene(images: int, size: int = 256) -> tuple[list[np.ndarray], list[Prompt]]:
    """Noise, and two prompts per image as the job gives them: a box and 14 points."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (size, size, 3), dtype=np.uint8) for _ in range(images)]
    box = np.array([0.2, 0.4, 0.8, 0.95]) * size
    prompts = [
        Prompt(i, random.random((14, 2)) * size, random.integers(0, 2, 14), box + 3 * k) for k in range(2) for i in range(images)
    ]
    return pictures, prompts


def seconds(work: Callable[[], Any], turns: int) -> tuple[float, Any]:
    """The least of several runs, and what the work returned: CPU seconds on a CPU, wall seconds up to the end on a GPU."""
    gpu = torch.cuda.is_available()

    def clock() -> float:
        if not gpu:
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    spans, found = [], None
    for _ in range(turns):
        start = clock()
        found = work()
        spans.append(clock() - start)
    return min(spans), found


def official_loop(sam: Sam, pictures: Sequence[np.ndarray], prompts: Sequence[Prompt], turns: int) -> tuple[float, float]:
    """Seconds per image of SamPredictor: set_image, then predict for its prompts one by one."""
    predictor, encoder, decoder = SamPredictor(sam), 0.0, 0.0
    for i, picture in enumerate(pictures):
        encoder += seconds(partial(predictor.set_image, picture), turns)[0]
        for one in (prompt for prompt in prompts if prompt.image == i):
            decoder += seconds(partial(predictor.predict, one.points_px, one.labels, one.box_xyxy_px), turns)[0]
    return encoder / len(pictures), decoder / len(pictures)


def batched(
    sam: Sam, pictures: Sequence[np.ndarray], prompts: Sequence[Prompt], precision: Precision, batch: int, turns: int
) -> tuple[float, float]:
    """Seconds per image of the batched prediction, with the best mask of each prompt at full size."""
    predictor = SamBatch(sam, precision, batch, 2 * batch)

    def decode() -> Any:
        found = [one.best() for one in predictor.decode(embedded, prompts)]
        return predictor.full_size(embedded, prompts, found)

    encoder, embedded = seconds(lambda: predictor.embed(pictures), turns)
    decoder, _ = seconds(decode, turns)
    return encoder / len(pictures), decoder / len(pictures)


def run(models: Sequence[str], sides: Sequence[int], precisions: Sequence[Precision], images: int, turns: int) -> Figures:
    """Every model at every side: the loop in float32, then the batch in each precision, and how many times as fast it is."""
    figures: Figures = []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for model in models:
        whole = build(untrained(MODELS[model]))
        for side in sides if model != "tiny" else (MODELS[model].image,):
            sam = at_side(whole, side).to(device)
            count = images if model != "tiny" else 8 * images
            pictures, prompts = scene(count)
            if device == "cuda" or model == "tiny":  # the first calls on a device choose kernels
                official_loop(sam, *scene(1), 1)
                batched(sam, pictures, prompts, "float32", count, 1)
            takes = turns if model != "tiny" else 5 * turns
            encoder, decoder = official_loop(sam, pictures, prompts, takes)
            row = {"model": model, "side": side, "device": device}
            loop = encoder + decoder
            figures.append({**row, "how": "SamPredictor, loop", **_rates(encoder, decoder, loop), "n": count})
            for precision in precisions:
                encoder, decoder = batched(sam, pictures, prompts, precision, count, takes)
                rates = _rates(encoder, decoder, loop)
                if device == "cuda":
                    floor = flops(replace(MODELS[model], image=side)) / BF16_FLOPS_PER_S
                    rates["share_of_bf16_floor"] = floor / encoder
                figures.append({**row, "how": f"batched, {precision}", **rates, "n": count})
    return figures


def _rates(encoder: float, decoder: float, loop: float) -> dict[str, float]:
    total = encoder + decoder
    return {"encoder_s": encoder, "decoder_s": decoder, "images_per_s": 1 / total, "times_loop": loop / total}


@benchmark(
    "Segment Anything, random weights: encoder and decoder seconds per image, SamPredictor's loop and batched", group="networks"
)
def sam(options: Options) -> Figures:
    """CPU seconds; on a GPU wall seconds, preprocessing included. Two prompts per image."""
    if torch.cuda.is_available():
        images = max(1, round(16 * options.scale))
        return run(("vit_b", "vit_h"), (1024, 512), ("float32", "bfloat16"), images, 3 * options.repeat)
    return run(("tiny", "vit_b"), (1024, 512), ("float32", "bfloat16"), max(1, round(options.scale)), options.repeat)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m jobs.benchmarks.sam", description="The benchmark on chosen models.")
    parser.add_argument("--models", nargs="+", default=["tiny"], choices=list(MODELS))
    parser.add_argument("--sides", nargs="+", type=int, default=[1024])
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--turns", type=int, default=1)
    given = parser.parse_args()
    print(table(run(given.models, given.sides, given.precisions, given.images, given.turns)))
