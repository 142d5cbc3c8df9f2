"""CPU time of putting things on faces, each way on the same people, and of measuring a picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import get_args

import numpy as np

from jobs.bench import Figures, Options, benchmark
from operators.batch import Batch
from operators.metrics.conventions import ConventionName
from operators.metrics.pixels import compare
from operators.synthesize.masker import FaceMasker, TemplateMaskerConfig, WornMaskerConfig

_PEOPLE = 16
_KINDS = {
    "worn masks": WornMaskerConfig(),
    "worn, coverage 0.2-0.3": WornMaskerConfig(coverage=(0.2, 0.3)),
    "templates": TemplateMaskerConfig(),
    "hand": WornMaskerConfig(outfits=("hand",)),
    "scarf": WornMaskerConfig(outfits=("scarf",)),
    "sunglasses": WornMaskerConfig(outfits=("sunglasses",)),
    "strokes": WornMaskerConfig(outfits=("strokes",)),
    "nothing (samples alone)": WornMaskerConfig(outfits=("none",)),
}


def fitted_people(count: int) -> Batch:
    """Drawn people as the synthesis job has them before it masks them."""
    from jobs.assets import ensure
    from jobs.config import load
    from jobs.drawn_people import draw_people
    from jobs.job_configs import SynthesizeConfig
    from jobs.plan import asset_names, plan_stages
    from operators.pipeline import run

    stages = [stage for stage in plan_stages(load(SynthesizeConfig)) if stage.section not in ("mask", "sheet")]
    assets = ensure(asset_names(stages))
    batch = Batch.from_images([image for image, _ in draw_people(range(count))])
    return run([stage.build(assets, "cpu") for stage in stages], batch)


def cpu_ms(work: Callable[[], object], repeat: int) -> float:
    """Least CPU time of several calls, in ms, after one that warms up."""
    work()
    times = []
    for _ in range(max(repeat, 2)):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


@benchmark("CPU ms per face of each way to put something on it, files of the sample included", group="synthesis")
def put_on(options: Options) -> Figures:
    """`vs_templates` is the ratio of CPU times in this run; 512 px pictures of drawn people."""
    from jobs.worker import set_threads

    set_threads(1)
    batch = fitted_people(max(1, round(_PEOPLE * options.scale)))
    masked = {name: FaceMasker(config) for name, config in _KINDS.items()}
    cost = {name: cpu_ms(lambda m=m: m(batch.copy()), options.repeat) / batch.n_faces for name, m in masked.items()}
    bare = cost["nothing (samples alone)"]
    return [
        {
            "what": name,
            "faces": batch.n_faces,
            "cpu_ms": ms,
            "without_files_ms": ms - bare,
            "vs_templates": ms / cost["templates"],
        }
        for name, ms in cost.items()
    ]


@benchmark("CPU ms per picture of the pixel metrics, by size and convention", group="synthesis")
def pixel_metrics(options: Options) -> Figures:
    """`vs_ours` is the ratio of CPU times in this run."""
    figures: Figures = []
    for side in (256, 512):
        cost = {name: _measuring_ms(side, name, options.repeat) for name in get_args(ConventionName)}
        figures += [{"side_px": side, "convention": n, "cpu_ms": ms, "vs_ours": ms / cost["ours"]} for n, ms in cost.items()]
    return figures


def _measuring_ms(side: int, convention: ConventionName, repeat: int) -> float:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    image = np.clip(truth + rng.normal(0, 20, truth.shape), 0, 255).astype(np.uint8)
    hole = np.zeros((side, side), bool)
    hole[side // 3 : side // 2, side // 4 : side // 2] = True
    return cpu_ms(lambda: compare(image, truth, {"hole": hole, "image": None}, convention), repeat)
