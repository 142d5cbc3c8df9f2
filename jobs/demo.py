"""The whole product on pictures that ship inside dependencies: nothing is downloaded, and the truth is known.

Public-domain portraits (Eileen Collins in scikit-image, Grace Hopper in matplotlib; both NASA / US Navy) and people who do not
exist, drawn from the shipped face base. `synthesize` puts masks on them, `reconstruct` has to find the masks by itself, and
`evaluate` compares the result with the pictures without masks.

    python -m jobs.demo [--output demo-output] [--people 6]
"""

from __future__ import annotations

import argparse
import io
import json
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from PIL import Image

from jobs.cli import OK, OTHER
from jobs.drawn_people import draw_people, person_name
from jobs.evaluation.summary import SUMMARY
from jobs.evaluation.table import terminal_table
from jobs.execution import ExecutionConfig
from jobs.ray_binding import ray_session
from operators.images import encode
from operators.types import FAILED

OUTFITS = (
    "surgical-#a9cfe3", "surgical_white", "surgical-#2b2b2e", "kn95", "n95", "cloth-#27365e", "cloth-flowers", "cloth-plaid",
)  # fmt: skip
"""One of each kind that is worn in the street."""
SEED = 372
"""The first with which the eight pictures of the default call wear all eight."""
_SHARD = 4  # images: the default call has a shard for each of two workers
_STEPS = ("masked", "restored", "evaluation")


def portraits() -> dict[str, np.ndarray]:
    """Public-domain portraits by name, RGB uint8."""
    import matplotlib.cbook
    import skimage.data

    hopper = np.array(Image.open(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))).convert("RGB"))
    return {"eileen_collins": skimage.data.astronaut(), "grace_hopper": hopper}


def faces(people: int) -> Iterator[tuple[str, bytes, str]]:
    """Name, PNG and JSON of every unmasked picture; the same every time."""
    for name, image in portraits().items():
        yield name, encode(image), json.dumps({"subject": name, "group": "portrait"})
    for number, (image, about) in enumerate(draw_people(range(people))):
        yield person_name(number), image, about


def commands(output: Path) -> dict[str, list[str]]:
    """The jobs in order, each with its arguments."""
    pictures, masked, restored, evaluation = (str(output / name) for name in ("faces", *_STEPS))
    shards = ["--source.images_per_shard", str(_SHARD)]
    worn = ["--mask.outfits", ",".join(OUTFITS), "--mask.seed", str(SEED)]
    samples = f"{masked}/samples"
    return {
        "synthesize": ["--input", pictures, "--output", masked, *worn, *shards],
        "reconstruct": ["--input", samples, "--source.ignore_masks", "true", "--output", restored, *shards],
        "evaluate": ["--input", samples, "--results", f"restored={restored},telea,masked", "--output", evaluation],
    }


def _clear(output: Path) -> None:
    """Remove what an earlier demo left there, and nothing else."""
    if not any(output.glob("faces/grace_hopper.*")):
        return
    for name in _STEPS:
        if (output / name / "run.json").exists():
            shutil.rmtree(output / name)
    for name in (*portraits(), "nobody-[0-9]*"):
        for file in output.glob(f"faces/{name}.*"):
            file.unlink()


def _jobs() -> dict[str, Callable[[list[str]], int]]:
    from jobs.evaluate import main as evaluate
    from jobs.reconstruct import main as reconstruct
    from jobs.synthesize import main as synthesize

    return {"synthesize": synthesize, "reconstruct": reconstruct, "evaluate": evaluate}


def _run(output: Path) -> int:
    """The three jobs on one local Ray, until one fails."""
    with ray_session(ExecutionConfig()):
        for (name, words), folder in zip(commands(output).items(), _STEPS, strict=True):
            print(f"\nunmask {name} {shlex.join(words)}", flush=True)
            with redirect_stdout(io.StringIO() if name == "evaluate" else sys.stdout):  # its table comes last
                code = _jobs()[name](words)
            if code:
                print(f"demo: {name} ended with exit code {code}", file=sys.stderr)
                return code
            rows = json.loads((output / folder / "run.json").read_text())["summary"]["rows_by_status"]
            if rows.get(FAILED):
                where = output / folder / "manifest"
                print(f"demo: {rows[FAILED]} images failed in {name}: error_message in {where} says why", file=sys.stderr)
                return OTHER
    return OK


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the pictures, run the three jobs, print the table. Returns the exit code of the first job that failed, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m jobs.demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder to write to (default demo-output)")
    parser.add_argument("--people", type=int, default=6, help="how many made-up people beside the two portraits (default 6)")
    options = parser.parse_args(arguments)
    output: Path = options.output
    _clear(output)
    print("drawing people who do not exist, beside two public-domain portraits …", flush=True)
    (output / "faces").mkdir(parents=True, exist_ok=True)
    for name, image, about in faces(options.people):
        (output / "faces" / f"{name}.png").write_bytes(image)
        (output / "faces" / f"{name}.json").write_text(about)
    code = _run(output)
    if code:
        return code
    print()
    print(terminal_table(json.loads((output / "evaluation" / SUMMARY).read_text())))
    print("\ntelea is OpenCV's inpainting with the exact hole given: the lower bound. restored had to find the mask by itself.\n")
    for text, folder in (("masks put on", "masked"), ("restored", "restored"), ("measured", "evaluation")):
        print(f"{text:14}{(output / folder / 'report.html').resolve().as_uri()}")
    return OK


if __name__ == "__main__":
    raise SystemExit(main())
