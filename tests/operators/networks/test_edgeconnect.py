from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from operators.checkpoints.errors import CheckpointError
from operators.networks.edgeconnect import SYSTEM, EdgeConnect, Official, read_discriminator
from tests.conformance.fixture import FIXTURES, Fixture
from tests.official import edgeconnect as official


def opened(checkpoint: str | Path) -> EdgeConnect:
    return SYSTEM.build(SYSTEM.read(SYSTEM.find(Path(checkpoint))))


def scene(faces: int = 2, height: int = 24, width: int = 32) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    image = torch.rand((faces, 3, height, width), generator=random)
    edges = (torch.rand((faces, 1, height, width), generator=random) < 0.1).float()
    hole = torch.zeros(faces, 1, height, width)
    hole[:, :, 8:20, 6:25] = 1
    return image, edges, hole


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(official.write(tmp_path_factory.mktemp("official")))


@torch.inference_mode()
def test_every_layout_of_the_files_gives_the_same_pictures(folder: Path, tmp_path: Path) -> None:
    expected = opened(folder)(*scene())
    found = official.variants(tmp_path)
    assert {"parallel", "old_norm", "no_norm", "with_others", "one_of_two_files"} == found.keys()
    for name, checkpoint in found.items():
        picture = opened(checkpoint)(*scene())
        if "no_norm" in checkpoint:  # another edge generator: its weights were never divided, and its blocks have biases
            assert picture.shape == expected.shape and not torch.allclose(picture, expected)
        else:
            torch.testing.assert_close(picture, expected, rtol=1e-5, atol=1e-6, msg=name)


@torch.inference_mode()
def test_one_file_alone_is_one_generator(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "faces.pth").write_bytes((folder / "InpaintingModel_gen.pth").read_bytes())
    alone, both = opened(tmp_path / "faces.pth"), opened(folder)
    assert alone.edge is None
    torch.testing.assert_close(alone(*scene(), mode="inpaint"), both(*scene(), mode="inpaint"))


@torch.inference_mode()
def test_what_the_modes_look_at(folder: Path) -> None:
    network, (image, edges, hole) = opened(folder), scene()
    hidden = image * (1 - hole) + torch.rand_like(image) * hole, edges * (1 - hole)
    for mode in ("edge", "edge_inpaint", "joint"):  # nothing of the hole
        assert torch.equal(network(image, edges, hole, mode), network(*hidden, hole, mode))
    assert not torch.allclose(network(image, edges, hole, "inpaint"), network(image, hidden[1], hole, "inpaint"))
    found = network(image, edges, hole, "edge")
    assert found.shape == edges.shape and 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(network(image, edges, hole, "joint"), network(image, found, hole, "inpaint"))
    joined = found * hole + edges * (1 - hole)
    assert torch.equal(network(image, edges, hole, "edge_inpaint", merged=True), network(image, joined, hole, "inpaint"))


def test_the_canny_scale_of_the_config_is_kept(folder: Path, tmp_path: Path) -> None:
    assert opened(folder).sigma is None
    assert opened(official.variants(tmp_path)["with_others"]).sigma == 1.5


def test_discriminators_load_with_both_names_of_their_first_layer(tmp_path: Path) -> None:
    official.write_discriminators(tmp_path)
    for name, inputs in (("EdgeModel", 2), ("InpaintingModel", 3)):
        verdict, maps = read_discriminator(tmp_path / f"{name}_dis.pth")(torch.rand(1, inputs, 64, 64))
        raw = read_discriminator(tmp_path / f"{name}_dis.pth", use_sigmoid=False)(torch.rand(1, inputs, 64, 64))
        assert verdict.shape == (1, 1, 6, 6) and len(maps) == 5 and torch.equal(torch.sigmoid(maps[-1]), verdict)
        assert torch.equal(raw[0], raw[1][-1])


def test_untrained_weights_are_of_the_published_size() -> None:
    counts = {name: value.numel() for name, value in SYSTEM.untrained().weights.items()}
    # 10.77 and 10.76 million in the official key lists; u and v are not counted among parameters
    fixture = Fixture(FIXTURES / "edgeconnect").spec["networks"]
    assert sum(n for name, n in counts.items() if name.startswith("inpaint.")) == fixture["inpaint_generator"]["n_params"]
    assert sum(n for name, n in counts.items() if name.startswith("edge.")) == fixture["edge_generator"]["n_params"]
    assert isinstance(SYSTEM.build(SYSTEM.untrained()), EdgeConnect)


def broken(folder: Path, how: str) -> None:
    path = folder / "InpaintingModel_gen.pth"
    contents = torch.load(path, weights_only=True)
    state = contents["generator"]
    if how == "missing":
        del state["middle.1.conv_block.5.weight"]
    elif how == "shape":
        state["decoder.3.weight"] = torch.zeros(3, 3, 3, 3)
    elif how == "other":
        state = {"model.5.conv1.ffc.convl2l.weight": torch.zeros(2, 2), "model.1.ffc.convl2l.weight": torch.zeros(2)}
    elif how == "claims":  # a tensor that is a single number in the file, and claims to be a network's width
        state["encoder.1.weight"] = torch.zeros(1, 1, 1, 1).expand(1 << 24, 4, 7, 7)
    elif how == "twice":
        (folder / "EdgeModel_gen.pth").write_bytes(path.read_bytes())
    torch.save({"iteration": 1, "generator": state} if how != "empty" else {"iteration": 1}, path)
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing", r"1 missing \(middle\.1\.conv_block\.5\.weight\)"),
        ("shape", r"decoder\.3\.weight is \(3, 3, 3, 3\) instead of \(32, 16, 4, 4\)"),
        ("other", "missing"),
        ("claims", r"found encoder\.1\.weight larger than its numbers"),
        ("twice", "a second one of EdgeConnect's inpainting generator"),
        ("empty", "expected tensors by name at 'generator'"),
        ("truncated", "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_error(tmp_path: Path, how: str, said: str) -> None:
    official.write(tmp_path)
    broken(tmp_path, how)
    with pytest.raises(CheckpointError, match=said) as error:
        opened(tmp_path)
    assert "InpaintingModel_gen.pth" in str(error.value) and "\n" not in str(error.value)


def test_a_folder_without_its_files_and_a_config_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckpointError, match=r"expected EdgeModel_gen\.pth and InpaintingModel_gen\.pth, found notes\.txt"):
        SYSTEM.find(tmp_path)
    official.write(tmp_path)
    (tmp_path / "config.yml").write_text("SIGMA: [2\nMODE: !!python/object/apply:os.system ['touch ran']\n")
    with pytest.raises(CheckpointError, match=r"config\.yml: expected EdgeConnect's options in YAML"):
        opened(tmp_path)
    assert not Path("ran").exists()


@torch.inference_mode()
def test_weights_of_the_fixture_survive_conversion(folder: Path) -> None:
    both = SYSTEM.read(SYSTEM.find(folder))
    again = SYSTEM.build(Official({key: value.clone() for key, value in both.weights.items()}, both.settings))
    np.testing.assert_array_equal(again(*scene()).numpy(), opened(folder)(*scene()).numpy())
