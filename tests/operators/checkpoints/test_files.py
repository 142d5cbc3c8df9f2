import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.restricted import ALLOWED, Held, loads
from tests.operators.checkpoints.hostile import files, payloads

WEIGHTS = {"encoder.weight": torch.arange(6.0).reshape(2, 3), "encoder.bias": torch.tensor([1.0, -1.0])}


class Options:
    """A class of some training program: not here when its checkpoint is read."""

    def __init__(self):
        self.lr = 0.1


@pytest.mark.parametrize("kind", ["os.system", "subprocess", "exec", "eval", "open", "getattr", "webbrowser"])
def test_nothing_in_a_file_is_run(tmp_path, kind):
    mark = tmp_path / "mark"
    for path in files(tmp_path, WEIGHTS, payloads(mark)[kind]):
        try:
            found = read_checkpoint(path)
        except CheckpointError as error:
            assert path.name in str(error)
            continue
        finally:
            assert not mark.exists(), path.name
        if path.suffix == ".pth":
            assert isinstance(found["callbacks"], Held)
            assert torch.equal(state_dict_of(found, path, "state_dict")["encoder.weight"], WEIGHTS["encoder.weight"])


def test_nothing_that_can_be_called_does_more_than_build_data():
    builders = {module for module, _ in ALLOWED}
    assert builders == {
        *("builtins", "__builtin__", "collections", "_codecs", "torch", "torch._utils", "torch.storage", "torch.nn.parameter"),
        *("torch.jit._pickle", "numpy", "numpy.core.multiarray", "numpy._core.multiarray"),
    }
    names = {name for module, name in ALLOWED if module in ("builtins", "__builtin__")}
    assert not names & {
        "eval",
        "exec",
        "open",
        "getattr",
        "setattr",
        "compile",
        "__import__",
        "type",
        "object",
        "vars",
        "globals",
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_classes_beside_the_weights_do_not_matter(tmp_path, legacy):
    path = tmp_path / "last.ckpt"
    numbers = np.arange(3.0)
    torch.save({"state_dict": WEIGHTS, "hparams": Options(), "mean": numbers}, path, _use_new_zipfile_serialization=not legacy)
    found = read_checkpoint(path)
    assert found["hparams"].state == {"lr": 0.1}
    assert np.array_equal(found["mean"], numbers)
    assert torch.equal(found["state_dict"]["encoder.bias"], WEIGHTS["encoder.bias"])


def test_safetensors(tmp_path):
    save_file(WEIGHTS, tmp_path / "a.safetensors")
    assert torch.equal(read_checkpoint(tmp_path / "a.safetensors")["encoder.weight"], WEIGHTS["encoder.weight"])


@pytest.mark.parametrize("how", ["trace", "script"])
def test_weights_of_torchscript_without_its_code(tmp_path, how):
    inner = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Sequential(nn.Conv2d(4, 2, 3))).eval()
    made = torch.jit.trace(inner, torch.rand(1, 3, 8, 8)) if how == "trace" else torch.jit.script(inner)
    path = tmp_path / "big.pt"
    made.save(str(path))
    with zipfile.ZipFile(path) as archive:  # code that cannot be compiled: it is not looked at
        kept = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in kept.items():
            archive.writestr(name, b"this is no code" if "/code/" in name else data)
    found = state_dict_of(read_checkpoint(path), path)
    assert found.keys() == inner.state_dict().keys()
    for name, value in inner.state_dict().items():
        assert torch.equal(found[name], value), name


def test_half_precision_in_torchscript(tmp_path):
    path = tmp_path / "half.pt"
    torch.jit.trace(nn.Linear(2, 3).bfloat16(), torch.rand(1, 2).bfloat16()).save(str(path))
    assert read_checkpoint(path).state["weight"].dtype == torch.bfloat16


def test_an_archive_that_pretends_to_be_torchscript_never_reaches_torch(tmp_path):
    path = tmp_path / "odd.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("constants.pkl", b"")
        archive.writestr("data.pkl", pickle.dumps({}))
    with pytest.raises(CheckpointError, match=r"TorchScript archive without its data"):
        read_checkpoint(path)


def test_module_prefix_goes_only_when_all_have_it(tmp_path):
    path = tmp_path / "a.pth"
    assert set(state_dict_of({"module.a": torch.ones(1), "module.b": torch.ones(1)}, path)) == {"a", "b"}
    assert set(state_dict_of({"module.a": torch.ones(1), "b": torch.ones(1)}, path)) == {"module.a", "b"}


@pytest.mark.parametrize("cut", [0, 1, 20, 200, -20])
@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "plain.pkl", "a.safetensors", "script.pt"])
def test_a_file_that_is_cut_short_is_one_clear_error(tmp_path, name, cut):
    path = tmp_path / name
    weights = {"a": torch.ones(500)}
    if name == "a.safetensors":
        save_file(weights, path)
    elif name == "script.pt":
        torch.jit.trace(nn.Linear(2, 3), torch.rand(1, 2)).save(str(path))
    elif name == "plain.pkl":
        path.write_bytes(pickle.dumps({"G_ema": [1] * 1000}))
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=name == "zip.pth")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        CheckpointError, match=rf"{name}: expected a checkpoint.*, found {path.stat().st_size} bytes .*get it again"
    ):
        read_checkpoint(path)


def test_other_kinds_of_files(tmp_path):
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>Sign in</html>")
    with pytest.raises(CheckpointError, match="page"):
        read_checkpoint(tmp_path / "page.pth")
    with pytest.raises(CheckpointError, match="no such file"):
        read_checkpoint(tmp_path / "absent.pth")
    with pytest.raises(CheckpointError, match="a folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="expected tensors by name at 'generator', found dict with epoch"):
        state_dict_of({"epoch": 3}, tmp_path / "a.pth", "generator")
    with pytest.raises(CheckpointError, match="expected tensors by name, found 3"):
        state_dict_of(3, tmp_path / "a.pth")


def test_a_tensor_that_claims_more_than_it_has_is_refused(tmp_path):
    path = tmp_path / "huge.pth"
    torch.save({"a": torch.ones(1).expand(10**12)}, path)
    with pytest.raises(CheckpointError, match=r"huge\.pth: expected tensors with numbers of their own, found a larger than"):
        state_dict_of(read_checkpoint(path), path)


def test_odd_spellings_of_bytes_are_refused():
    with pytest.raises(pickle.UnpicklingError):
        loads(b"c_codecs\nencode\n(Vabc\nVzip\ntR.")
    assert loads(pickle.dumps(b"\xff\x00", protocol=2)) == b"\xff\x00"
