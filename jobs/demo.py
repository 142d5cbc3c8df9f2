"""The whole job on pictures that ship inside dependencies: nothing is downloaded, and the truth is known.

Public-domain portraits (Eileen Collins in scikit-image, Grace Hopper in matplotlib; both NASA / US Navy) and people who do not
exist, rendered from the shipped face base. A mask is drawn on each, the job reconstructs them, and the result is compared with
the picture without the mask.

    python -m jobs.demo [--output demo-output] [--people 6]
"""

from __future__ import annotations

import argparse
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from operators.metrics.pixels import psnr_db
from operators.synthesize.drawn import STYLES, DrawnMaskConfig, draw_mask


@dataclass(frozen=True)
class Pair:
    """A picture with its mask drawn on, and the same without."""

    name: str
    truth: np.ndarray
    masked: np.ndarray
    hole: np.ndarray


def portraits() -> dict[str, np.ndarray]:
    """Public-domain portraits by name, RGB uint8."""
    import matplotlib.cbook
    import skimage.data

    hopper = np.array(Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))).convert("RGB"))
    return {"eileen_collins": skimage.data.astronaut(), "grace_hopper": hopper}


def _landmarks(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Mesh of the most confident face of each picture; a picture without one is left out."""
    from jobs.assets import ensure
    from operators.batch import Batch
    from operators.faces.detector import FaceDetector
    from operators.faces.landmarker import FaceLandmarker
    from operators.images import encode
    from operators.pipeline import run

    assets = ensure([*FaceDetector.info.assets, *FaceLandmarker.info.assets])
    batch = Batch.from_images([encode(image, "png") for image in images.values()], list(images))
    batch = run([FaceDetector(assets=assets), FaceLandmarker(assets=assets)], batch)
    found: dict[str, np.ndarray] = {}
    for j in batch.live_faces():
        found.setdefault(batch.rows["key"][batch.face_row[j]], batch.faces["landmarks468_px"][j])
    return found


def make_pairs(people: int) -> list[Pair]:
    """Masked pictures and their truth; the same every time."""
    from operators.morphable.bases import load_basis
    from operators.portrait import PortraitMaker

    images = portraits()
    meshes = _landmarks(images)
    maker = PortraitMaker(load_basis("open_face"))
    for seed in range(people):
        portrait = maker(seed)
        name = f"nobody_{seed:02d}"
        images[name], meshes[name] = portrait.image, portrait.landmarks_px
    pairs = []
    for i, (name, image) in enumerate((n, images[n]) for n in images if n in meshes):
        drawn = draw_mask(image, meshes[name], DrawnMaskConfig(style=STYLES[i % len(STYLES)]), seed=i)
        pairs.append(Pair(name, image, drawn.image, drawn.hole))
    return pairs


def _restored(output: Path, name: str) -> np.ndarray | None:
    files = sorted(output.glob(f"images/**/{name}.*"))
    return np.array(Image.open(files[0]).convert("RGB")) if files else None


def _table(pairs: list[Pair], output: Path) -> str:
    lines = [f"{'picture':18} {'masked':>8} {'telea':>8} {'restored':>9}   PSNR in dB against the truth, inside the drawn mask"]
    sums: list[tuple[float, float, float]] = []
    for pair in pairs:
        result = _restored(output, pair.name)
        bgr = cv2.cvtColor(pair.masked, cv2.COLOR_RGB2BGR)
        telea = cv2.cvtColor(cv2.inpaint(bgr, pair.hole.astype(np.uint8) * 255, 3, cv2.INPAINT_TELEA), cv2.COLOR_BGR2RGB)
        before, lower = (psnr_db(image, pair.truth, pair.hole).value for image in (pair.masked, telea))
        after = math.nan if result is None else psnr_db(result, pair.truth, pair.hole).value
        sums.append((before, lower, after))
        lines.append(f"{pair.name:18} {before:8.2f} {lower:8.2f} {after:9.2f}")
    means = [float(np.nanmean(column)) for column in zip(*sums, strict=True)]
    n = sum(not math.isnan(row[2]) for row in sums)
    lines.append(f"{f'mean, n = {n}':18} {means[0]:8.2f} {means[1]:8.2f} {means[2]:9.2f}")
    lines.append(
        "telea is OpenCV's inpainting with the exact mask given: the lower bound. The job has to find the mask by itself."
    )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pictures, run the job, compare."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder to write to (default demo-output)")
    parser.add_argument("--people", type=int, default=6, help="how many made-up people beside the two portraits (default 6)")
    options = parser.parse_args(arguments)
    photos, truth, restored = (options.output / name for name in ("input", "truth", "restored"))
    for folder in (photos, truth, restored):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in (photos, truth):
        folder.mkdir(parents=True)
    print("drawing masks on two public-domain portraits and on people who do not exist …", flush=True)
    pairs = make_pairs(options.people)
    for pair in pairs:
        Image.fromarray(pair.masked).save(photos / f"{pair.name}.png")
        Image.fromarray(pair.truth).save(truth / f"{pair.name}.png")
    from jobs.reconstruct import main as reconstruct

    code = reconstruct(["--input", str(photos), "--output", str(restored)])
    if code:
        return code
    print()
    print(_table(pairs, restored))
    print(f"\nlook at   {(restored / 'report.html').resolve().as_uri()}")
    print(f"pictures  {restored / 'images'}\nmeshes    {restored / 'artifacts'}\nrows      {restored / 'manifest'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
