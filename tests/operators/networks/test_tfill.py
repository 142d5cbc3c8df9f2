from collections import Counter
from pathlib import Path

import pytest
import torch

from operators.checkpoints.errors import CheckpointError
from operators.networks import tfill_blocks
from operators.networks.tfill import SYSTEM, TFill, build, discriminator, find, read
from operators.networks.tfill_blocks import AttnAware
from tests.conformance.formula import latent, rect_mask, sym
from tests.official import tfill as official


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tfill")


@pytest.fixture(scope="module")
def written(shelf) -> str:
    return official.write(shelf / "written")


@pytest.fixture(scope="module")
def layouts(shelf) -> dict[str, str]:
    return official.variants(shelf / "variants")


def opened(checkpoint: str) -> TFill:
    return build(read(find(Path(checkpoint))))


@pytest.fixture(scope="module")
def network(written) -> TFill:
    return opened(written)


IMAGE = sym("tfill/test", (2, 3, 64, 96))
MASK = rect_mask((2, 1, 64, 96), (20, 50, 30, 70), inside=0.0, outside=1.0)


@pytest.fixture(scope="module", autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize(
    "layout", ["an iteration", "a file of the folder", "DataParallel", "torch before 1.6", "with discriminators"]
)
def test_the_same_weights_in_every_layout(layout, layouts, network):
    theirs, ours = opened(layouts[layout]).state_dict(), network.state_dict()
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in ours)


def test_options_follow_from_the_weights(layouts, network):
    assert len(network.noise_sizes()) == 8 and network.noise_sizes()["up.3.noise.1"] == (128, 128)
    assert opened(layouts["without --add_noise"]).noise_sizes() == {}
    assert opened(layouts["the first stage alone"])(IMAGE, MASK).refined is None
    plain = opened(layouts["without --attn_G"])
    assert not any("attn" in key for key in plain.G.state_dict()) and plain(IMAGE, MASK).refined is not None


def test_the_releases_architecture_has_the_published_size():
    found = SYSTEM.untrained().weights
    sizes: Counter[str] = Counter()
    for key, value in found.items():
        sizes[key.split(".")[0]] += value.numel()
    assert sizes == {"E": 3328576, "T": 38374912, "G": 22475783, "G_Ref": 45268041}


def test_known_pixels_stay_and_hidden_ones_are_not_seen(network):
    stages = network(IMAGE, MASK)
    for made in stages:
        assert torch.equal(made * MASK, IMAGE * MASK) and made.abs().max() <= 1
        assert (made - IMAGE)[(MASK == 0).expand_as(made)].abs().mean() > 0.1
    other = network(torch.where(MASK > 0, IMAGE, 0.3), MASK)
    assert all(torch.equal(a, b) for a, b in zip(stages, other, strict=True))


def test_a_batch_gives_what_its_pictures_give_alone(network):
    together = network(IMAGE, MASK).refined
    for i in range(2):
        torch.testing.assert_close(network(IMAGE[i : i + 1], MASK[i : i + 1]).refined, together[i : i + 1], rtol=0, atol=1e-3)


def test_noise_changes_the_hole_and_needs_its_maps(network):
    noise = {name: latent(name, (2, 1, *size)) for name, size in network.noise_sizes().items()}
    quiet, loud = network.coarse(IMAGE, MASK), network.coarse(IMAGE, MASK, noise)
    assert (quiet - loud).abs().amax() > 1e-3 and torch.equal(quiet * MASK, loud * MASK)
    assert torch.equal(loud, network.coarse(IMAGE, MASK, noise))
    with pytest.raises(KeyError, match=r"up\.0\.noise\.1"):
        network.coarse(IMAGE, MASK, {"up.0.noise.0": noise["up.0.noise.0"]})


def test_attention_in_groups_is_attention(monkeypatch):
    torch.manual_seed(0)
    layer = AttnAware(8, 2)
    x, photo = torch.randn(2, 8, 6, 6), torch.randn(2, 8, 6, 6)
    known = rect_mask((2, 1, 6, 6), (2, 4, 1, 4), inside=0.0, outside=1.0)
    whole = layer(x, photo, known)
    monkeypatch.setattr(tfill_blocks, "_LOGITS_AT_ONCE", 2 * 2 * 36 * 5)
    torch.testing.assert_close(layer(x, photo, known), whole, rtol=1e-5, atol=1e-6)


def test_discriminators_take_one_size_in_groups(written, layouts):
    folder = Path(layouts["with discriminators"])
    small = discriminator(torch.load(folder / "latest_net_D.pth", weights_only=True))
    large = discriminator(torch.load(folder / "latest_net_D_Ref.pth", weights_only=True))
    assert (small.size, large.size) == (16, 32)
    scores = small(sym("disc", (8, 3, 16, 16)))
    assert scores.shape == (8, 1) and scores.std() > 0
    with pytest.raises(ValueError, match="multiple of it"):
        small(sym("disc", (5, 3, 16, 16)))
    with pytest.raises(ValueError, match="expected n 3 32 32"):
        large(sym("disc", (4, 3, 16, 16)))
    with pytest.raises(CheckpointError, match="TFill discriminator"):
        discriminator(torch.load(folder / "latest_net_E.pth", weights_only=True))


def broken(written: str, to: Path, **changes) -> str:
    """A copy of the folder; changes by network: None removes the file, a function maps its state_dict."""
    to.mkdir()
    for file in Path(written).iterdir():
        change = changes.get(file.stem.removeprefix("latest_net_"), lambda state: state)
        if change is not None:
            torch.save(change(torch.load(file, weights_only=True)), to / file.name)
    return str(to)


def without(key: str):
    return lambda state: {name: value for name, value in state.items() if name != key}


def test_what_is_wrong_is_named(written, tmp_path):
    cases = [
        ({"T": None}, r"latest_net_T\.pth, found .*latest_net_E\.pth.*: give a folder"),
        ({"G": without("conv_in.bias")}, r"TFill's G, found .*1 missing \(conv_in\.bias\)"),
        ({"G": lambda state: state | {"conv_in.bias": torch.zeros(3)}}, r"conv_in\.bias is \(3,\) instead of \(32,\)"),
        ({"E": lambda state: state | {"encode.weight": torch.zeros(0)}}, r"TFill's E"),
        ({"T": lambda _: {"weight": torch.zeros(3)}}, r"TFill's T"),
        ({"G_Ref": lambda _: {}}, r"tensors by name"),
        ({"G_Ref": lambda state: state | {"up.7.attn.weight.weight": torch.zeros(4)}}, r"TFill's G_Ref, found .*1 unknown"),
    ]
    for i, (changes, message) in enumerate(cases):
        with pytest.raises(CheckpointError, match=message):
            opened(broken(written, tmp_path / str(i), **changes))


def test_which_iteration_is_taken(layouts, written, tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for iteration in ("1000", "2000"):
        for name in ("E", "T", "G"):
            (folder / f"{iteration}_net_{name}.pth").touch()
    with pytest.raises(CheckpointError, match=r"latest_net_E\.pth.*found 1000_net_E\.pth.*2000"):
        find(folder)
    assert [file.name for file in find(folder / "2000_net_G.pth")] == ["2000_net_E.pth", "2000_net_T.pth", "2000_net_G.pth"]
    with pytest.raises(CheckpointError, match="a name such as latest_net_G"):
        find(Path(layouts["a file of the folder"]).with_name("generator.pth"))
    with pytest.raises(CheckpointError):
        find(tmp_path / "nowhere" / "latest_net_G.pth")
