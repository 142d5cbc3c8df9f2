"""What settings of Segment Anything cost in mask IoU, on samples whose masks are exact (`unmask synthesize`).

python -m jobs.benchmarks.sam_quality sam_vit_b_01ec64.pth masked/samples --sides 1024 512 --precisions float32 bfloat16

Prompts are made from the exact mask, alike for every setting: its box with noise as in SAM's training, and the point deepest in
it. So the figures say what a setting costs where the prompts are good; how good the job's own prompts are is for `unmask
evaluate` to say, with the same settings in the job's config.
"""

from __future__ import annotations

import argparse
import json
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from segment_anything.modeling import Sam

from jobs.bench import Figures, table
from operators.checkpoints.open import open_network
from operators.codec import decode_rgb
from operators.metrics.intervals import bootstrap_mean, paired_difference
from operators.metrics.segmentation import boundary_f, iou
from operators.networks.sam_encoder import at_side
from operators.segment.sam_predict import Precision, Prompt, SamBatch

PARTS = ("box", "point", "both")
_PICTURES = (".png", ".webp", ".jpg")


@dataclass(frozen=True)
class Sample:
    """A picture, its occluder, and the person shown (for the intervals)."""

    name: str
    picture: np.ndarray
    mask: np.ndarray
    subject: str


def samples_in(folder: Path, most: int) -> list[Sample]:
    """Pictures with an exact mask beside them, in order of their names; those without anything masked are left out.

    Errors: FileNotFoundError when there is none.
    """
    found: list[Sample] = []
    for beside in sorted(folder.rglob("*.mask.png")):
        stem = beside.with_name(beside.name.removesuffix(".mask.png"))
        pictures = [path for suffix in _PICTURES if (path := Path(f"{stem}{suffix}")).is_file()]
        opacity = Path(f"{stem}.alpha.png")
        mask = decode_rgb((opacity if opacity.is_file() else beside).read_bytes())[..., 0] >= 128
        if not pictures or not mask.any() or len(found) == most:
            continue
        about = Path(f"{stem}.json")
        said: dict[str, Any] = json.loads(about.read_text(encoding="utf-8")) if about.is_file() else {}
        picture = decode_rgb(pictures[0].read_bytes())
        found.append(Sample(stem.name, picture, mask, str(said.get("subject") or stem.name)))
    if not found:
        raise FileNotFoundError(f"{folder}: no KEY.png with KEY.mask.png beside it; `unmask synthesize` writes such samples")
    return found


def prompt_for(sample: Sample, image: int, parts: str) -> Prompt:
    """Box with noise of a tenth of its sides, at most 20 px (Kirillov et al., appendix A), and the deepest point.

    The noise belongs to the sample: it is the same in every run.
    """
    rows, columns = np.nonzero(sample.mask.any(1))[0], np.nonzero(sample.mask.any(0))[0]
    box = np.array([columns[0], rows[0], columns[-1], rows[-1]], np.float64)
    spread = np.tile(0.1 * (box[2:] - box[:2] + 1), 2)
    noise = np.random.default_rng(zlib.crc32(sample.name.encode())).standard_normal(4) * spread
    height, width = sample.mask.shape
    box = np.clip(box + noise.clip(-20, 20), 0, np.tile([width - 1, height - 1], 2))
    depth = cv2.distanceTransform(np.pad(sample.mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    point = np.array([[x, y]], np.float64)
    return Prompt(
        image,
        point if parts != "box" else None,
        np.ones(1, np.int64) if parts != "box" else None,
        box if parts != "point" else None,
    )


def measure(
    sam: Sam,
    samples: Sequence[Sample],
    sides: Sequence[int],
    precisions: Sequence[Precision],
    refine: Sequence[int],
    parts: str = "both",
    batch: int = 4,
) -> Figures:
    """One row per setting: mean IoU and boundary F with the mask of highest predicted IoU, and the difference in IoU to the
    first setting, pair by pair, with 95 % intervals."""
    figures: Figures = []
    first: np.ndarray | None = None
    people = [sample.subject for sample in samples]
    for side in sides:
        for precision in precisions:
            predictor = SamBatch(at_side(sam, side), precision, batch, batch)
            for passes in refine:
                start = time.perf_counter()
                scores = np.array(_scores(predictor, samples, passes, parts, batch))
                first = scores[:, 0] if first is None else first
                mean, change = bootstrap_mean(scores[:, 0], people), paired_difference(first, scores[:, 0], people).mean
                figures.append(
                    {
                        **{"side": predictor.sam.image_encoder.img_size, "precision": precision, "refine": passes},
                        **{"iou": mean.value, "iou_low": mean.low, "iou_high": mean.high},
                        **{"change": change.value, "change_low": change.low, "change_high": change.high},
                        **{"boundary_f": float(scores[:, 1].mean()), "predicted_iou": float(scores[:, 2].mean())},
                        **{"n": len(samples), "s_per_image": (time.perf_counter() - start) / len(samples)},
                    }
                )
    return figures


def _scores(
    predictor: SamBatch, samples: Sequence[Sample], passes: int, parts: str, batch: int
) -> list[tuple[float, float, float]]:
    scores: list[tuple[float, float, float]] = []
    for start in range(0, len(samples), batch):
        some = samples[start : start + batch]
        embedded = predictor.embed([sample.picture for sample in some])
        prompts = [prompt_for(sample, i, parts) for i, sample in enumerate(some)]
        found = [one.best() for one in predictor.decode(embedded, prompts)]
        for _ in range(passes):
            found = predictor.refine(embedded, prompts, found)
        for sample, one, logits in zip(some, found, predictor.full_size(embedded, prompts, found), strict=True):
            mask = (logits[0] > predictor.sam.mask_threshold).cpu().numpy()
            scores.append((iou(mask, sample.mask).value, boundary_f(mask, sample.mask).value, float(one.iou[0])))
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.benchmarks.sam_quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", help="a SAM, as segment.checkpoint takes it")
    parser.add_argument("samples", type=Path, help="folder of samples that `unmask synthesize` wrote")
    parser.add_argument("--sides", nargs="+", type=int, default=[0, 512], help="input sides; 0 = the model's own")
    parser.add_argument("--precisions", nargs="+", default=["float32"], choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--refine", nargs="+", type=int, default=[0], help="decoder passes more")
    parser.add_argument("--prompts", default="both", choices=PARTS)
    parser.add_argument("--most", type=int, default=500, help="samples at most")
    given = parser.parse_args(arguments)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network: Any = open_network("sam", given.checkpoint).to(device)
    samples = samples_in(given.samples, given.most)
    print(table(measure(network, samples, given.sides, given.precisions, given.refine, given.prompts)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
