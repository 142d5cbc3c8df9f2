from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.files import read_checkpoint, state_dict_of
from operators.checkpoints.loading import recognise
from operators.checkpoints.open import open_network
from operators.checkpoints.system import Official
from operators.networks.equalised import fold
from operators.networks.mat import SYSTEM, Drop, Generator, untrained
from operators.networks.mat_checkpoint import PUBLISHED, shape_of
from operators.networks.mat_discriminator import read_discriminator
from tests.conformance.fixture import FIXTURES, Fixture, compared, strided_like
from tests.conformance.formula import centred
from tests.conformance.systems import mat as conformance
from tests.official import mat as official


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("mat")
    return {"pickle": official.write(folder), **official.variants(folder)}


@pytest.fixture(scope="module")
def generator() -> Generator:
    weights = {key: value for key, value in official.generator_state().items() if not key.endswith(("filter", "attn_mask"))}
    network = SYSTEM.build(Official(weights))
    assert isinstance(network, Generator)
    return network


def pictures(n: int = 1, h: int = 128, w: int = 128) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(7)
    known = torch.ones(n, 1, h, w)
    known[:, :, h // 2 :, w // 4 : -w // 4] = 0
    return torch.rand(n, 3, h, w, generator=random) * 2 - 1, known, torch.randn(n, 16, generator=random)


@pytest.mark.parametrize("layout", ["pickle", "state_dict", "module", "legacy", "safetensors"])
def test_every_layout_gives_the_same_network(files, tmp_path, layout):
    network = open_network("mat", files[layout], AssetStore(tmp_path))
    expected = official.generator_state()
    assert isinstance(network, Generator) and network.shape == official.SMALL
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_the_pickles_own_source_is_not_run_and_other_attributes_are_no_weights(files):
    contents = read_checkpoint(Path(files["pickle"]))
    assert set(state_dict_of(contents, Path("x"), "G_ema")) == set(official.generator_state())
    assert "EasyDict" in repr(contents["training_set_kwargs"])


def test_container_of_the_fixture_holds_the_stated_values():
    folder = FIXTURES / "mat"
    contents, described = read_checkpoint(folder / "mini_network.pkl"), json.loads((folder / "mini_network.json").read_text())
    for net, keys in described["nets"].items():
        state = state_dict_of(contents, folder / "mini_network.pkl", net)
        assert {key: list(value.shape) for key, value in state.items()} == keys
        for key, value in state.items():
            stated = np.full(value.shape, 1 / 16) if key.endswith("resample_filter") else centred(f"{net}:{key}", value.shape)
            assert np.array_equal(value.numpy(), stated.astype(np.float32)), f"{net} {key}"


def test_modules_within_themselves_are_refused(tmp_path):
    endless: dict[str, object] = {"_modules": {}, "_parameters": {"weight": torch.ones(1)}}
    endless["_modules"]["again"] = outer = official.Persistent(endless)  # type: ignore[index]
    many: object = official.Persistent({"_modules": {}, "_parameters": {"weight": torch.ones(1)}})
    for _ in range(20):
        many = official.Persistent({"_modules": {str(i): many for i in range(9)}})
    for module in (outer, many):
        (tmp_path / "G.pkl").write_bytes(official.pickled({"G_ema": module}))
        with pytest.raises(CheckpointError, match="modules more than"):
            SYSTEM.read([tmp_path / "G.pkl"])


def test_discriminator_of_the_same_file(files):
    network, expected = read_discriminator(Path(files["pickle"])), official.discriminator_state()
    assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())
    image, known, _ = pictures(4)
    with torch.inference_mode():
        final, coarse = network(image, known, image)
    assert final.shape == coarse.shape == (4, 1) and len(final.unique()) == 4


def test_sizes_follow_from_the_tensors():
    for resolution, shape in PUBLISHED.items():
        with torch.device("meta"):
            state = Generator(shape).state_dict()
        assert shape_of(state) == shape and shape.resolution == resolution


def test_folded_network_is_the_official_one():
    fixture = Fixture(FIXTURES / "mat")
    case = fixture.spec["cases"]["out256_drop"]
    network = fold(conformance.generator(fixture, "generator_256"))
    with torch.inference_mode():
        outputs = network(*conformance.inputs_of(case), case["truncation_psi"], conformance.drop_of(case, network))
    for name, ours in zip(("out256_drop", "out256_drop_stg1"), outputs, strict=True):
        stored = fixture.expected[name]
        assert compared(name, strided_like(ours.numpy(), stored.shape), stored).passed


@torch.inference_mode()
def test_batch_of_one_is_batch_of_several(generator):
    image, known, z = pictures(3)
    together, _ = generator(image, known, z)
    alone = torch.cat([generator(image[i : i + 1], known[i : i + 1], z[i : i + 1])[0] for i in range(3)])
    assert (together - alone).norm() <= 1e-5 * alone.norm()


@torch.inference_mode()
def test_known_pixels_truncation_and_dropout(generator):
    image, known, z = pictures()
    final, coarse = generator(image, known, z)
    assert torch.equal((final * known), image * known) and torch.equal(coarse * known, image * known)
    mean, mean_of_other = (generator(image, known, code, 0.0)[0] for code in (z, -z))
    assert torch.equal(mean, mean_of_other) and not torch.equal(mean, final)
    from_style = generator(image, known, z, drop=Drop(0.0, 0.0))[0]
    assert not torch.allclose(from_style, generator(image, known, z, drop=Drop(1.0, 1.0))[0])


@torch.inference_mode()
def test_multiples_of_the_resolution_need_noise_and_others_are_refused(generator):
    image, known, z = pictures(1, 256, 128)

    def silent(index: int, h: int, w: int) -> torch.Tensor:
        return torch.zeros(1, 1, h, w)

    assert generator(image, known, z, noise=silent)[0].shape == image.shape
    with pytest.raises(ValueError, match="random noise"):
        generator(image, known, z)
    with pytest.raises(ValueError, match="multiples of 128"):
        generator(image[..., :200, :], known[..., :200, :], z, noise=silent)


def test_training_reaches_every_weight(generator):
    network = Generator(official.SMALL)
    image, known, z = pictures()
    final, coarse = network(image, known, z)
    (final.square().mean() + coarse.square().mean()).backward()
    without = [name for name, value in network.named_parameters() if value.grad is None]
    assert without == []


def _damaged(kind: str, folder: Path, files: dict[str, str]) -> Path:
    path = folder / "given.pth"
    state = official.generator_state()
    if kind == "missing":
        state.pop("synthesis.dec.Dec_64x64.conv0.conv.weight")
    elif kind == "shape":
        state["synthesis.to_square.weight"] = torch.zeros(256, 3)
    elif kind == "filter":
        state["synthesis.enc.EncConv_Block_64x64.conv0.resample_filter"] = torch.eye(4)
    elif kind == "huge":
        state["synthesis.enc.EncConv_Block_64x64.conv1.weight"] = torch.zeros(10**6, 1, 1, 1)
    elif kind == "other":
        state = {"encoder.1.weight": torch.zeros(3)}
    if kind == "truncated":
        path.write_bytes(Path(files["pickle"]).read_bytes()[:100_000])
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize(
    "kind, says",
    [
        ("missing", "1 missing .synthesis.dec.Dec_64x64.conv0.conv.weight"),
        ("shape", "synthesis.to_square.weight is .256, 3. instead of .256, 16."),
        ("filter", "the filter"),
        ("huge", "other shapes"),
        ("other", "missing"),
        ("truncated", "damaged"),
    ],
)
def test_wrong_files_give_one_error_that_names_the_file(files, tmp_path, kind, says):
    with pytest.raises(CheckpointError, match=says) as error:
        open_network("mat", str(_damaged(kind, tmp_path, files)), AssetStore(tmp_path))
    assert str(error.value).startswith("given.pth: expected")


def test_a_folder_has_to_hold_one_network(files, tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"")
    assert SYSTEM.find(tmp_path) == [tmp_path / "a.pkl"]
    (tmp_path / "b.pkl").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"a\.pkl, b\.pkl"):
        SYSTEM.find(tmp_path)


def test_keys_mark_the_system():
    system = recognise(official.generator_state())
    assert system is not None and system.name == "mat"
    assert SYSTEM.build(untrained(256)) is not None
