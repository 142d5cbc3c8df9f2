"""Networks and face bases from the files that a user obtained: checked against what is known of them, and converted once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from operators.assets import AssetError, AssetStore, BaseEntry


def convert_network(entry: BaseEntry, paths: Sequence[str], store: AssetStore, any_bytes: bool) -> str:
    """Convert the weights that a user obtained into the cache and say what they are. Errors: AssetError."""
    if len(paths) != 1 or not Path(paths[0]).exists():
        one = "file or folder" if entry.system else "file"
        raise AssetError(f"convert {entry.name}: name its one {one}: `python -m jobs.assets explain {entry.name}`")
    file = Path(paths[0])
    if entry.system:
        return convert_official(entry, file, store, any_bytes)
    digest = store.install_obtained(entry.name, file, any_bytes)
    known = [item.sha256 for item in entry.files if item.sha256]
    count = sum(value.numel() for value in store.weights(entry.name).values())
    fits = any(digest.startswith(start) for start in known)
    verdict = "verified" if fits else "NOT the known file" if known else "recorded"
    return "\n".join([
        f"{file.name:34} sha256 {digest} ({verdict})",
        f"{entry.name}: {count} numbers; {entry.licence}",
        f"written: {store.path(entry.name)}",
    ])  # fmt: skip


def own_entry(entry: BaseEntry, name: str, store: AssetStore) -> BaseEntry:
    """The entry for a user's own weights of the same system under a name of their own. Errors: AssetError."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,63}", name) or name in store.networks or not entry.system:
        raise AssetError(
            f"--name {name}: expected a new name of small letters, digits, _ . -, for a network of a published system"
        )
    return replace(entry, name=name, files=())


def convert_official(entry: BaseEntry, path: Path, store: AssetStore, any_bytes: bool) -> str:
    """Convert a published system's official files into the cache and say what they are. Errors: AssetError."""
    from operators.checkpoints.files import sha256_of_file
    from operators.checkpoints.open import convert as convert_checkpoint
    from operators.checkpoints.registry import system_of

    system = system_of(entry.system)
    digests = {file.name: sha256_of_file(file) for file in system.find(path)}
    for name, digest in digests.items():
        known = entry.known.get(name, "")
        if known and not any_bytes and not digest.startswith(known):
            raise AssetError(f"{name}: expected sha256 {known}, got {digest}: not used; --any-bytes takes it all the same")
    written = convert_checkpoint(system, path, store, entry.name)
    lines = [f"{name:34} sha256 {digest} ({_verdict(entry.known, name, digest)})" for name, digest in sorted(digests.items())]
    accept = f"--accept_licences {system.licence} " if system.non_commercial else ""
    return "\n".join([
        *lines,
        f"{entry.name}: {system.title}; {system.licence}: {system.terms}",
        f"written: {written}",
        f"use it:  {accept}--…checkpoint {entry.name}   (docs/networks.md)",
    ])  # fmt: skip


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
    return "verified" if digest.startswith(known[name]) else "NOT the known file"
