"""Every loader against files that would run something, files of other systems, and files that are cut short."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.open import open_network
from operators.checkpoints.registry import MODULES, system_of
from tests.operators.checkpoints.hostile import files, payloads

TENSORFLOW = "inverse_rendering"  # whose files are TensorFlow's
PICKLED = (".pth", ".ckpt", ".pkl", ".pt", ".bin")


def official(name: str):
    return importlib.import_module(f"tests.official.{name}")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Callable[[str], str]:
    """A system's official files, written when they are first asked for."""
    root = tmp_path_factory.mktemp("official")
    return cache(lambda name: official(name).write(_made(root / name)))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _copy(checkpoint: str, to: Path) -> Path:
    source = Path(checkpoint)
    if source.is_dir():
        shutil.copytree(source, to / source.name)
    else:
        shutil.copytree(source.parent, to / source.parent.name)
        return to / source.parent.name / source.name
    return to / source.name


def _weights(name: str, path: Path) -> list[Path]:
    """The files that hold weights, of those that count."""
    files = system_of(name).find(path)
    return [file for file in files if file.suffix in PICKLED] or [max(files, key=lambda file: file.stat().st_size)]


@pytest.mark.parametrize("name", MODULES)
def test_nothing_that_a_checkpoint_says_is_run(name, shelf, tmp_path):
    mark, store = tmp_path / "mark", AssetStore(tmp_path / "cache")
    copy = _copy(shelf(name), tmp_path)
    payload = payloads(mark)["os.system"]
    for target in _weights(name, copy):
        kept = target.read_bytes()
        folder = _made(tmp_path / f"hostile-{target.name}")
        for hostile in files(folder, {}, payload):
            shutil.copyfile(hostile, target)
            with pytest.raises(CheckpointError, match=r"expected .*, found .*: "):
                open_network(name, str(copy), store)
            assert not mark.exists(), f"{hostile.name} as {target.name}"
        target.write_bytes(kept)
    assert not (store.root / "networks").exists()


@pytest.mark.parametrize("name", MODULES)
def test_a_file_that_is_cut_short_is_named(name, shelf, tmp_path):
    copy = _copy(shelf(name), tmp_path)
    for target in _weights(name, copy):
        kept = target.read_bytes()
        target.write_bytes(kept[: len(kept) // 2])
        known = "|".join(file.name for file in (system_of(name).find(copy) if name == TENSORFLOW else [target]))
        with pytest.raises(CheckpointError, match=rf"({known}): expected .*, found .*: "):
            open_network(name, str(copy), AssetStore(tmp_path / "cache"))
        target.write_bytes(kept)


@pytest.mark.parametrize("name", MODULES)
def test_a_file_of_another_system_is_recognised(name, shelf, tmp_path):
    names = [each for each in MODULES if each != name and each != TENSORFLOW]
    other = names[list(MODULES).index(name) % len(names)]
    copy, foreign = _copy(shelf(name), _made(tmp_path / "own")), _copy(shelf(other), _made(tmp_path / "other"))
    source = max(_weights(other, foreign), key=lambda file: file.stat().st_size)
    for target in _weights(name, copy):
        shutil.copyfile(source, target)
    with pytest.raises(CheckpointError) as error:
        open_network(name, str(copy), AssetStore(tmp_path / "cache"))
    title = system_of(other).title.split(" (")[0]
    assert title in str(error.value) or "expected tensors by name" in str(error.value) or name == TENSORFLOW


@pytest.mark.parametrize("name", MODULES)
def test_official_files_open_and_are_converted_once(name, shelf, tmp_path):
    store = AssetStore(tmp_path)
    network = open_network(name, shelf(name), store)
    assert not network.training
    (converted,) = (store.root / "networks").iterdir()
    again = open_network(name, str(converted), store)
    mine, other = network.state_dict(), again.state_dict()
    assert mine.keys() == other.keys() and all((mine[key] == other[key]).all() for key in mine)
