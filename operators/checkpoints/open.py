"""From what a config calls a checkpoint to a network: official files, converted on first use, or a converted name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open
from torch import nn

from operators.assets import CONVERTER_VERSION, AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import sha256_of_file
from operators.checkpoints.registry import system_of
from operators.checkpoints.system import Official, System


def open_network(name: str, checkpoint: str, store: AssetStore | None = None) -> nn.Module:
    """The network of that system with a checkpoint's weights, in eval mode on the CPU.

    `checkpoint` names official files (converted into the cache once), a converted file, or a converted network of the store.
    Errors: CheckpointError.
    """
    system, store = system_of(name), store or AssetStore()
    return system.build(read_converted(system, converted(system, checkpoint, store)))


def identity(name: str, checkpoint: str, store: AssetStore | None = None) -> str:
    """sha256 of the official files behind a checkpoint, for a run's fingerprint. Errors: CheckpointError."""
    system, store = system_of(name), store or AssetStore()
    path = _here(system, checkpoint, store)
    return _metadata(system, path)["source_sha256"] if _is_converted(path) else _digest(system.find(path))


def convert(system: System, path: Path, store: AssetStore, name: str = "") -> Path:
    """Read official files, check them against the network, and write one safetensors file into the cache.

    Its metadata records system, licence, source, settings and each file's sha256. Errors: CheckpointError.
    """
    files = system.find(path)
    digest = _digest(files)
    official = system.read(files)
    try:
        system.build(official)
    except CheckpointError as error:
        if Path(error.file).name in {file.name for file in files}:
            raise
        raise CheckpointError(path, error.expected, error.found, error.do) from error
    about = {
        "system": system.name,
        "licence": system.licence,
        "source": system.page,
        "source_sha256": digest,
        "files": json.dumps({file.name: sha256_of_file(file) for file in files}),
        "settings": json.dumps(official.settings),
        "converter": CONVERTER_VERSION,
    }
    target = store.root / "networks" / f"{name or _cached_name(system, digest)}.safetensors"
    return store.write(target, official.weights, about)


def converted(system: System, checkpoint: str, store: AssetStore) -> Path:
    """The converted file of a checkpoint, made now if it is not there. Errors: CheckpointError."""
    path = _here(system, checkpoint, store)
    if _is_converted(path):
        return path
    target = store.root / "networks" / f"{_cached_name(system, _digest(system.find(path)))}.safetensors"
    return target if target.is_file() else convert(system, path, store)


def read_converted(system: System, path: Path) -> Official:
    """Weights and settings of a converted file. Errors: CheckpointError."""
    from operators.checkpoints.files import read_checkpoint

    return Official(read_checkpoint(path), json.loads(_metadata(system, path)["settings"]))


def _here(system: System, checkpoint: str, store: AssetStore) -> Path:
    names = [name for name, entry in store.networks.items() if entry.system == system.name]
    how = " or ".join(f"`python -m jobs.assets explain {name}`" for name in names[:1]) or f"see {system.page}"
    give = f"set checkpoint to {system.give}; {how} says how to get it"
    if not checkpoint:
        raise CheckpointError(system.name, f"a checkpoint of {system.title}", "none", give)
    path = Path(checkpoint)
    if path.exists():
        return path
    stored = store.root / "networks" / f"{checkpoint}.safetensors"
    if path.name == checkpoint and stored.is_file():
        return stored
    found = f"no such path, and no converted network of that name in {stored.parent}"
    raise CheckpointError(checkpoint, system.give, found, how.replace("`python", "run `python") if names else give)


def _is_converted(path: Path) -> bool:
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return "system" in (file.metadata() or {})
    except Exception:  # read_checkpoint says what is wrong with it
        return False


def _metadata(system: System, path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        found = file.metadata() or {}
    if found.get("system") != system.name:
        raise CheckpointError(path, f"a checkpoint of {system.title}", f"one of {found.get('system')}", f"give {system.give}")
    return found


def _digest(files: Sequence[Path]) -> str:
    """One sha256 for one file; for several, of their names and digests."""
    if len(files) == 1:
        return sha256_of_file(files[0])
    text = "\n".join(f"{file.name}\0{sha256_of_file(file)}" for file in sorted(files))
    return hashlib.sha256(text.encode()).hexdigest()


def _cached_name(system: System, digest: str) -> str:
    return f"{system.name}-{digest[:12]}-c{CONVERTER_VERSION}"
