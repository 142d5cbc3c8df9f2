"""LaMa's files: every layout that its authors use, what its config may say, and what is refused."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.loading import recognise
from operators.checkpoints.open import open_network
from operators.checkpoints.system import Official
from operators.networks.lama import BIG_LAMA, SYSTEM, empty, generator_weights
from operators.networks.lama_config import GlobalSettings, settings_of, settings_of_weights
from operators.networks.lama_discriminator import NLayerDiscriminator
from tests.formula_weights import formula_weights
from tests.official import lama as official


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    root = tmp_path_factory.mktemp("lama")
    return {"folder": official.write(root), **official.variants(root / "variants")}


def seen(side: int = 64, count: int = 1) -> torch.Tensor:
    return torch.rand((count, 4, side, side), generator=torch.Generator().manual_seed(1))


LAYOUTS = ("folder", "regular", "config above", "config beside, torch before 1.6", "TorchScript", "folder with TorchScript")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_published_layout_gives_the_same_network(layout, shelf, tmp_path):
    theirs = official.network(official.REGULAR if layout == "regular" else official.FOURIER)
    ours = open_network("lama", shelf[layout], AssetStore(tmp_path))
    assert not ours.training and not any(parameter.requires_grad for parameter in ours.parameters())
    assert torch.equal(ours(seen()), theirs(seen()))


def test_settings_are_those_of_the_config_with_its_references_resolved(shelf):
    read = SYSTEM.read(SYSTEM.find(Path(shelf["folder"])))
    assert read.settings == json.loads(json.dumps({"generator": official.FOURIER.as_json()}))
    assert set(read.weights) == set(empty(official.FOURIER).state_dict())


def test_published_sizes():
    with torch.device("meta"):
        big, regular = empty(BIG_LAMA), empty(GlobalSettings(add_out_act="sigmoid"))
        judge = NLayerDiscriminator()
    count = lambda network: sum(value.numel() for value in network.parameters())  # noqa: E731
    assert (count(big), len(big.state_dict())) == (50_975_875, 989)
    assert (count(regular), len(regular.state_dict())) == (45_617_731, 177)
    assert count(judge) == 6_962_369


@pytest.mark.parametrize("settings", [official.FOURIER, official.REGULAR, BIG_LAMA], ids=["fourier", "regular", "big"])
def test_shapes_alone_tell_the_settings(settings):
    with torch.device("meta"):
        weights = empty(settings).state_dict()
    with torch.device("meta"):
        again = empty(settings_of_weights(weights, "big-lama.pt")).state_dict()
    assert {key: value.shape for key, value in again.items()} == {key: value.shape for key, value in weights.items()}


def block(**more):
    return {**yaml.safe_load(official.FOURIER_YAML)["generator"], **more}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"kind": "pix2pixhd_multidilated"}, "ffc_resnet or pix2pixhd_global.*found 'pix2pixhd_multidilated'"),
        ({"kind": None}, "ffc_resnet or pix2pixhd_global"),
        ({"n_blocks": 10**9}, r"generator\.n_blocks 0 to 64, found 1000000000"),
        ({"ngf": "64"}, r"generator\.ngf 1 to 512"),
        ({"input_nc": 3}, "input_nc 3"),
        ({"add_out_act": "relu"}, r"generator\.add_out_act"),
        ({"out_ffc": True}, r"found generator\.out_ffc: True"),
        ({"resnet_conv_kwargs": {"ratio_gin": 0.75, "ratio_gout": "${nowhere.at.all}"}}, r"ratio_gout a share from 0 to 1"),
        ({"resnet_conv_kwargs": {"ratio_gin": 0.75, "ratio_gout": 0.75, "use_se": True}}, r"use_se: True"),
        ({"resnet_conv_kwargs": 3}, "a block of settings"),
    ],
)
def test_a_generator_that_is_not_supported_is_named(more, said):
    with pytest.raises(CheckpointError, match=said):
        settings_of(block(**more), "config.yaml")


def test_options_that_change_nothing_are_taken():
    made = settings_of(block(out_ffc=False, spatial_transform_layers=None, dilation=1, max_features=1024), "config.yaml")
    assert made == settings_of(block(), "config.yaml")


def test_a_reference_to_itself_ends():
    with pytest.raises(CheckpointError, match=r"generator\.ngf"):
        settings_of(block(ngf="${generator.ngf}"), "config.yaml")


@pytest.mark.parametrize("text", ["generator: [1", "- 1", "run_title: x", "!!python/object/apply:os.getcwd []", ""])
def test_a_config_that_cannot_be_used_is_named(text, shelf, tmp_path):
    (tmp_path / "best.ckpt").write_bytes((Path(shelf["folder"]) / "models" / "best.ckpt").read_bytes())
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.yaml: expected"):
        open_network("lama", str(tmp_path), AssetStore(tmp_path / "cache"))


def test_a_checkpoint_without_its_config_says_where_it_belongs(shelf, tmp_path):
    alone = tmp_path / "deep" / "best.ckpt"
    alone.parent.mkdir()
    alone.write_bytes((Path(shelf["folder"]) / "models" / "best.ckpt").read_bytes())
    with pytest.raises(CheckpointError, match=r"best\.ckpt: expected config\.yaml beside it or in the folder above, found none"):
        open_network("lama", str(alone), AssetStore(tmp_path / "cache"))


def test_an_archive_and_an_empty_folder_say_what_to_give(tmp_path):
    (tmp_path / "big-lama.zip").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match="unpack it"):
        open_network("lama", str(tmp_path / "big-lama.zip"), AssetStore(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"config\.yaml and models/best\.ckpt, found an empty folder"):
        open_network("lama", str(tmp_path / "empty"), AssetStore(tmp_path / "cache"))


def test_weights_that_do_not_fit_the_config_are_one_error():
    weights = generator_weights({f"generator.{k}": v for k, v in official.network().state_dict().items()})
    settings = {"generator": official.FOURIER.as_json()}
    wide, lacking = dict(weights), dict(weights)
    wide["model.1.ffc.convl2l.weight"] = torch.zeros(8, 3, 7, 7)
    del lacking["model.5.conv1.ffc.convg2g.fu.bn.weight"]
    for bad, said in ((wide, "1 other shapes"), (lacking, r"1 missing \(model\.5\.conv1\.ffc\.convg2g\.fu\.bn\.weight\)")):
        with pytest.raises(CheckpointError, match=said):
            SYSTEM.build(Official(bad, settings))
    with pytest.raises(CheckpointError, match=r"missing"):
        SYSTEM.build(Official(weights, {"generator": {**official.FOURIER.as_json(), "n_blocks": 3}}))


@pytest.mark.parametrize("prefix", ["", "generator.", "model.generator.", "net.inpainter."])
def test_the_generator_is_found_and_recognised_whatever_holds_it(prefix):
    for settings in (official.FOURIER, official.REGULAR):
        weights = official.network(settings).state_dict()
        held = {prefix + key: value for key, value in weights.items()} | {
            "discriminator.model0.0.weight": torch.zeros(4, 3, 4, 4)
        }
        assert generator_weights(held).keys() == weights.keys()
        assert recognise(held) is SYSTEM


def test_counters_of_batches_may_be_missing():
    weights = {k: v for k, v in official.network().state_dict().items() if "num_batches" not in k}
    built = SYSTEM.build(Official(weights, {"generator": official.FOURIER.as_json()}))
    assert torch.equal(built(seen()), official.network()(seen()))


def test_the_discriminator_gives_logits_of_patches_and_every_level():
    judge = NLayerDiscriminator(3, 8, 3)
    judge.load_state_dict(formula_weights(judge.state_dict()))
    logits, levels = judge.eval()(seen()[:, :3])
    assert logits.shape == (1, 1, 11, 11)
    assert [level.shape[1] for level in levels] == [8, 16, 32, 64]
