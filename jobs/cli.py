"""The command line: `unmask COMMAND …`, generated from the config types."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import textwrap
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from jobs.config import POOLS, ConfigError, JobConfig, document, load, own_leaves, unknown
from jobs.fields import Leaf
from jobs.job_configs import JOBS, ReconstructConfig
from jobs.ledger import LedgerError
from jobs.stopping import Stopped, StopSignals
from jobs.storage import StorageError

OK, OTHER, USAGE, STORAGE = 0, 1, 2, 3
_EXAMPLES = {
    "reconstruct": """examples:
  unmask reconstruct --input photos/ --output restored/
  unmask reconstruct --input 's3://bucket/shards/*.tar' --output s3://bucket/restored --config my.yaml
  unmask reconstruct --input photos/ --output restored/ --inpaint.kind telea --detect.max_faces 4 --dry-run
  unmask reconstruct --input photos/ --output restored/ --render.views_deg=-45,0,45 --render.mesh_formats obj,glb
  ray job submit --working-dir . -- python -m jobs.reconstruct --input s3://… --output s3://…""",
    "synthesize": """examples:
  unmask synthesize --input faces/ --output masked/
  unmask synthesize --input faces/ --output masked/ --mask.outfits 'surgical*3,kn95,cloth-dots,none' --mask.coverage 0.3,0.5
  unmask synthesize --input faces/ --output masked/ --mask.kind template --mask.templates MaskTheFace/masks --pack true
  unmask synthesize --input faces/ --output masked/ --source.image_list people.csv --source.split test

What it writes is what the other jobs read: unmask reconstruct --input masked/samples …""",
    "pairs": """examples:
  unmask pairs --input photos/ --source.masks masks/ --output pairs/ --pair.size_px 256
  unmask pairs --input photos/ --source.masks masks/ --source.hole_colour black --output pairs/ --pair.crop face --pack true""",
    "evaluate": """examples:
  unmask synthesize  --input faces/ --output masked/
  unmask reconstruct --input masked/samples --output restored/
  unmask evaluate    --input masked/samples --results ours=restored/,telea,navier_stokes,masked --output evaluation/
  unmask evaluate    --input masked/ --source.masks holes/ --source.truths originals/ --source.hole_colour black \\
                     --results tfill=tfill/,telea --output evaluation/

unmask compare A B --output DIR compares two evaluations picture by picture.""",
}
_CODES = """
Run the same command again after an interruption: what is committed is skipped.

exit codes: 0 done (images that failed are reported, and listed in manifest/), 1 something else went wrong,
  2 wrong command line or configuration, 3 trouble with storage or the input, 130 or 143 stopped by Ctrl-C or SIGTERM
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `unmask`. Returns the exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    jobs = {name: partial(run_job, config) for name, config in JOBS.items()}
    commands = {**jobs, "compare": _compare, "config": show_config, "report": _report, "assets": _assets, "bench": _bench}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return OK if arguments else USAGE
    if arguments[0] not in commands:
        import difflib

        close = difflib.get_close_matches(arguments[0], commands, 1)
        hint = f" Did you mean {close[0]}?" if close else " See unmask --help."
        print(f"unmask: {arguments[0]!r} is not a command.{hint}", file=sys.stderr)
        return USAGE
    return commands[arguments[0]](arguments[1:])


def _overview() -> str:
    return """usage: unmask COMMAND [options]

  reconstruct   masked photos in, reconstructed faces out
  synthesize    photos of faces in, the same faces with masks and other occluders out, with the exact hole and the truth
  pairs         photos with masks in, training pairs of one size and format out; what has no partner is dropped and listed
  evaluate      results beside the truth: numbers with intervals, tables, plots and sheets
  compare       two evaluations picture by picture: what got better, and where they differ most
  config        print the configuration of a job, every field explained, as YAML to start from
  report        make report.html of a run anew
  assets        fetch and verify the networks that a run needs
  bench         measure

unmask COMMAND --help explains each. A reconstruction is a guess: it must not be used to identify anyone."""


def run_job(model: type[JobConfig], arguments: Sequence[str]) -> int:
    """`unmask JOB`: run it. Returns the exit code."""
    parser = job_parser(model, f"unmask {model.job}")
    options, config, code = _parse(model, parser, arguments)
    if config is None:
        return code
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    units: list[int] = []
    try:
        with StopSignals() as signals:
            return _run(config, options.dry_run, signals, units)
    except ConfigError as error:
        return _fail(USAGE, str(error))
    except LedgerError as error:
        return _fail(USAGE, str(error))
    except StorageError as error:
        return _fail(STORAGE, str(error))
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Stopped) else signal.SIGINT
        print(f"stopped: {sum(units[-1:])} units committed; run the same command to go on", file=sys.stderr)
        return 128 + number
    except Exception as error:
        if os.environ.get("UNMASK_TRACEBACK"):
            raise
        return _fail(OTHER, f"{type(error).__name__}: {error}\n(UNMASK_TRACEBACK=1 shows where)")


def _run(config: JobConfig, dry_run: bool, signals: StopSignals, units: list[int]) -> int:
    """The run itself; `units` gets the number of committed units each time there are more."""
    from jobs.run import describe, execute, prepare

    prepared = prepare(config)
    if dry_run:
        print(describe(prepared))
        return OK
    from jobs.progress import ProgressDisplay, Tally, summary_text

    print("\n".join([*prepared.licences, _work_left(prepared)]), file=sys.stderr, flush=True)
    started = time.monotonic()
    with ProgressDisplay(prepared.images_left, config.execution.progress_every_s) as display:

        def show(tally: Tally) -> None:
            units.append(tally.units)
            display.update(tally)
            signals.check()

        tally = execute(prepared, show)
    elapsed = time.monotonic() - started
    page = config.finish(prepared.storage)
    print(summary_text(tally, elapsed, config.output, prepared.skipped, page))
    return OK


def show_config(arguments: Sequence[str]) -> int:
    """`unmask config [JOB]`: the configuration as documented YAML, with overrides applied."""
    named = arguments[:1] and arguments[0] in JOBS
    model = JOBS[arguments[0]] if named else ReconstructConfig
    about = f"Print the configuration that a run of {model.job} would use, every field explained, as YAML."
    parser = job_parser(model, f"unmask config {model.job}", about)
    _, config, code = _parse(model, parser, arguments[1:] if named else arguments)
    if config is not None:
        print(document(config), end="")
    return code


def job_parser(model: type[JobConfig], prog: str, description: str = "") -> argparse.ArgumentParser:
    """Parser with one flag per config field, grouped by section."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description or model.about, epilog=_EXAMPLES[model.job] + "\n" + _CODES,
        formatter_class=_Formatter, allow_abbrev=False, add_help=False,
    )  # fmt: skip
    first = parser.add_argument_group("the run")
    first.add_argument("-h", "--help", action="help", help="show this and exit")
    first.add_argument("--config", metavar="FILE", help="YAML with any of the fields below (unmask config JOB prints one)")
    first.add_argument("--dry-run", action="store_true", help="print the plan and what it would read and write, then exit")
    groups: dict[str, Any] = {"": first}
    seen: dict[str, argparse.Action] = {}
    told: dict[str, list[Leaf]] = {}
    wanted = own_leaves(model)
    pool_fields = [leaf for leaf in wanted if leaf.path.startswith(POOLS)]
    for leaf in wanted:
        section = leaf.path.rpartition(".")[0]
        hidden = leaf.path.startswith(POOLS)
        if section not in groups and not hidden:
            groups[section] = parser.add_argument_group(section, _section_doc(model, section))
        if leaf.path in seen:
            if not hidden:
                told[leaf.path].append(leaf)
                seen[leaf.path].help = _joint_help(told[leaf.path])
            continue
        told[leaf.path] = [leaf]
        seen[leaf.path] = groups.get(section, first).add_argument(
            f"--{leaf.path}",
            dest=leaf.path,
            metavar=_metavar(leaf),
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS if hidden else _help(leaf),
        )
    names = dict.fromkeys(leaf.path.split(".")[2] for leaf in pool_fields)
    pools = parser.add_argument_group(
        "execution.pools",
        f"--execution.pools.POOL.FIELD N, where POOL is one of {', '.join(names)} (worker: kind fused) and FIELD is",
    )
    for leaf in [leaf for leaf in pool_fields if leaf.path.startswith(f"{POOLS}worker.")]:
        name = leaf.path.rpartition(".")[2]
        pools.add_argument(f"--{POOLS}POOL.{name}", metavar=_metavar(leaf), default=argparse.SUPPRESS, help=_help(leaf))
    return parser


def _parse(
    model: type[JobConfig], parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[Any, JobConfig | None, int]:
    try:
        options, rest = parser.parse_known_args(arguments)
    except SystemExit as leave:
        return None, None, int(leave.code or 0)
    if rest:
        names = [word.removeprefix("--").partition("=")[0] for word in rest if word.startswith("--")]
        lines = [f"--{unknown(name, list(own_leaves(model)))}" for name in names] or [f"unexpected: {' '.join(rest)}"]
        return options, None, _fail(USAGE, "\n".join(lines))
    flags = {leaf.path for leaf in own_leaves(model)}
    overrides = [(name, text) for name, text in vars(options).items() if name in flags]
    overrides.sort(key=lambda item: not item[0].endswith(".kind"))  # the kind decides which other fields there are
    try:
        return options, load(model, options.config, overrides), OK
    except ConfigError as error:
        return options, None, _fail(USAGE, str(error))


def _joint_help(same: Sequence[Leaf]) -> str:
    """Help of a field that several kinds have: said once where it is the same for all of them."""
    texts = [_help(leaf) for leaf in same]
    bare = {text.removeprefix(f"[{leaf.variant}] ") for leaf, text in zip(same, texts, strict=True)}
    kinds = "|".join(leaf.variant for leaf in same)
    return f"[{kinds}] {bare.pop()}" if len(bare) == 1 else "; ".join(texts)


def _help(leaf: Leaf) -> str:
    default = (
        "none" if leaf.default is None else ",".join(map(str, leaf.default)) if isinstance(leaf.default, tuple) else leaf.default
    )
    kind = f"[{leaf.variant}] " if leaf.variant else ""
    choices = f" One of {', '.join(map(str, leaf.choices))}." if leaf.choices else ""
    text = f"{kind}{leaf.help}.{choices} Default: {default if default != '' else 'empty'}"
    return text.replace("%", "%%")


def _metavar(leaf: Leaf) -> str:
    return leaf.type_name.replace(" or none", "").replace("|", "/").upper() if not leaf.choices else "CHOICE"


def _section_doc(model: type[JobConfig], section: str) -> str:
    import inspect

    if not section:
        return ""
    annotation = model.model_fields[section.split(".")[0]].default
    doc = inspect.getdoc(type(annotation)) or ""
    return " ".join(doc.split("\n\n")[0].split())


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=34, width=110)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)  # names stay whole, to be copied

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        text = f"{self._prog} --input DIR|s3://… --output DIR|s3://… [--config FILE] [--dry-run] [--SECTION.FIELD VALUE …]"
        super().add_usage(text, [], [], prefix)


def _work_left(prepared: Any) -> str:
    images, shards = prepared.images_left, len(prepared.items)
    if not shards:
        return "nothing left to do: every unit of this input is committed"
    return f"{'' if images is None else f'{images} images in '}{shards} shard{'s' * (shards > 1)} to do"


def _fail(code: int, message: str) -> int:
    print(
        "\n".join(f"error: {line}" if i == 0 else f"       {line}" for i, line in enumerate(message.splitlines())),
        file=sys.stderr,
    )
    return code


def _report(arguments: Sequence[str]) -> int:
    from jobs.report import main as report

    return report(list(arguments))


def _assets(arguments: Sequence[str]) -> int:
    from jobs.assets import main as assets

    return assets(arguments)


def _compare(arguments: Sequence[str]) -> int:
    from jobs.evaluation.compare import main as compare

    return compare(list(arguments))


def _bench(arguments: Sequence[str]) -> int:
    from jobs.bench import main as bench

    return bench(arguments)


if __name__ == "__main__":
    sys.exit(main())
