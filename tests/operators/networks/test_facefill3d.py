import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.loading import recognise
from operators.checkpoints.open import open_network
from operators.networks.facefill3d import PARTS, SYSTEM
from operators.networks.facefill3d_definition import FaceDefinition
from operators.networks.facefill3d_drawn import drawn_definition
from operators.networks.facefill3d_inpainter import AlbedoInpainter
from tests.official import facefill3d as official


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("facefill3d")
    return folder, official.write(folder)


@pytest.fixture(scope="module")
def network(files):
    return SYSTEM.build(SYSTEM.read(SYSTEM.find(files[0])))


def numbers(network: Any):
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    with torch.inference_mode():
        return torch.cat([network.encoder(image).shape, network.inpainter(image, image[:, :1])[0].flatten(1)], 1)


@pytest.mark.parametrize("layout", ["flat", "named", "bare", "new"])
def test_every_layout_is_the_same_network(layout, network, tmp_path):
    given = official.variants(tmp_path)[layout]
    opened: Any = open_network("facefill3d", given, AssetStore(tmp_path / "cache"))
    assert torch.equal(numbers(opened), numbers(network))
    assert (opened.parser is None) == (layout == "bare") and opened.discriminator is not None
    assert torch.equal(opened.definition.modes, network.definition.modes)


def test_the_best_training_state_is_taken_not_the_last(files, tmp_path):
    folder, saved = shutil.copytree(files[0], tmp_path / "run"), Path("results/3dfacefill_2020-11-01_10-00-00/Save")
    for name in ("checkpoint_recon.pth", "checkpoint_recon_7.pth"):  # states after the best one, and before it
        (folder / saved / name).write_bytes(b"")
    assert folder / saved / "checkpoint_recon_41.pth" in SYSTEM.find(folder)
    (folder / saved / "checkpoint_recon_41.pth").unlink()
    assert folder / saved / "checkpoint_recon_7.pth" in SYSTEM.find(folder)


def test_spectral_norm_is_folded_along_the_output_axis_of_transposed_convolutions(network):
    state = official.states()["modelR"]
    weight, u, v = (state[f"up3.gate_conv.conv.weight_{part}"].double() for part in ("orig", "u", "v"))
    assert weight.shape[0] == weight.shape[1]  # both axes would fit
    norm = u @ weight.transpose(0, 1).flatten(1) @ v
    torch.testing.assert_close(network.inpainter.up3.gate_conv.conv.weight, (weight / norm).float())


def test_the_mirror_branch_sees_the_flipped_picture(network):
    albedo, visible = torch.rand(1, 3, 64, 96) - 0.5, torch.ones(1, 1, 64, 96)
    swapped: Any = AlbedoInpainter(8).eval()
    state = network.inpainter.state_dict()
    exchanged = {key.replace("down1_flip.", "DOWN1.").replace("down1.", "down1_flip.").replace("DOWN1.", "down1."): value
                 for key, value in state.items()}  # fmt: skip
    swapped.load_state_dict(exchanged)
    with torch.inference_mode():
        x = torch.cat((albedo, visible), 1)
        first = network.inpainter.down1(x), network.inpainter.down1_flip(x.flip(3))
        again = swapped.down1_flip(x), swapped.down1(x.flip(3))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and not torch.equal(*first)


def test_modes_and_mean_are_those_of_the_files(network):
    arrays = {name: values.double() for name, values in official.definition().items()}
    code = torch.linspace(-1, 1, sum(official.MODES)).double()
    raw = code * arrays["shape_para_std.npy"] + arrays["shape_para_mean.npy"]
    basis, expression = arrays["3DMM_shape_basis.dat"], arrays["3DMM_exp_basis.dat"]
    split = official.MODES[0]
    expected = basis[0] + raw[:split] @ basis[1:] + expression[0] + raw[split:] @ expression[1:]
    face = network.definition
    got = face.mean.double() + (code @ face.modes.double()).reshape(-1, 3)
    assert (got - expected.reshape(-1, 3)).abs().max() < 0.05  # micrometres, of 100,000


def test_triangles_that_look_inwards_are_turned_round():
    arrays = drawn_definition(9, 11, (2, 1))
    turned = arrays | {"3DMM_tri.dat": arrays["3DMM_tri.dat"][[1, 0, 2]]}
    one, other = FaceDefinition(arrays), FaceDefinition(turned)
    a, b, c = (one.mean[one.triangles[:, k]] for k in range(3))
    assert (torch.linalg.cross(b - a, c - a)[:, 2] > 0).float().mean() > 0.9
    assert {frozenset(t) for t in one.triangles.tolist()} == {frozenset(t) for t in other.triangles.tolist()}
    a, b, c = (other.mean[other.triangles[:, k]] for k in range(3))
    assert (torch.linalg.cross(b - a, c - a)[:, 2] > 0).float().mean() > 0.9


def test_by_default_everything_has_the_official_size():
    sizes = {name: tuple(values.shape) for name, values in drawn_definition().items()}
    assert sizes["3DMM_shape_basis.dat"] == (200, 159645) and sizes["3DMM_exp_basis.dat"] == (30, 159645)
    with torch.device("meta"):
        counts = {name: sum(value.numel() for value in kind().parameters()) for name, kind in PARTS.items()}
    assert counts == {"modelE": 17391941, "modelR": 11705252, "modelO": 7180771, "discI": 2790756}


def test_each_network_is_recognised_by_its_keys():
    for part in ("modelE", "modelR", "modelO"):
        assert recognise(official.states()[part]) is SYSTEM


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def changed(part, **tensors):
    """One network's file with other tensors; None takes one away."""
    state = official.states()[part] | {key.replace("__", "."): value for key, value in tensors.items()}
    return lambda path: torch.save({part: {key: value for key, value in state.items() if value is not None}}, path)


FOREIGN = {"modelE": {"model.1.weight": torch.ones(2)}}
WRONG = (
    ("_3dmm_34.pth", cut, "damaged"),
    ("_3dmm_34.pth", lambda path: torch.save({"modelDT": {}}, path), "'modelE'"),
    ("_3dmm_34.pth", lambda path: torch.save(FOREIGN, path), "the official file of 3DFaceFill's modelE"),
    ("_3dmm_34.pth", changed("modelE", k6_il__bias=None), "missing (k6_il.bias)"),
    ("_3dmm_34.pth", changed("modelE", k7_shape__weight=torch.ones(9, 16), k7_shape__bias=torch.ones(9)), "shape coefficients"),
    ("checkpoint_recon.pth", changed("modelR", outc__conv__weight_v=None), "without outc.conv.weight_v"),
    ("checkpoint_recon.pth", changed("modelR", up4__feat_conv__conv__res_conv__bias=torch.ones(3)), "other shapes"),
    ("3DMM_tri.dat", lambda path: path.write_bytes(b"\0" * 12), "indices from 1"),
    ("3DMM_tri.dat", lambda path: path.write_bytes(path.read_bytes()[:-400]), "3 rows"),
    ("3DMM_shape_basis.dat", lambda path: path.write_bytes(path.read_bytes()[:-400]), "rows of 1,071 numbers"),
    ("3DMM_shape_basis.dat", cut, "a raw file"),
    ("3DMM_tri_2d.dat", lambda path: path.write_bytes(b"\1\0\0\0" * 192), "192 x 224"),
    ("shape_para_std.npy", lambda path: np.save(path, np.ones(7)), "one for each mode"),
    ("shape_para_std.npy", lambda path: path.write_bytes(path.read_bytes()[:-30]), "plain numbers"),
    ("shape_para_mean.npy", lambda path: np.save(path, np.array([{}] * 10, object), allow_pickle=True), "plain numbers"),
    ("vertices_2d_u.dat", lambda path: np.full(17 * 21, np.nan, "<f4").tofile(path), "finite"),
)


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flat")
    official.write_to(folder, folder, folder, folder / "checkpoint_recon.pth")
    return folder


@pytest.mark.parametrize(("name", "spoil", "said"), WRONG, ids=[f"{name}: {said}" for name, _, said in WRONG])
def test_what_is_wrong_with_a_file_is_said(name, spoil, said, flat):
    good = (flat / name).read_bytes()
    try:
        spoil(flat / name)
        with pytest.raises(CheckpointError) as error:
            SYSTEM.build(SYSTEM.read(SYSTEM.find(flat)))
    finally:
        (flat / name).write_bytes(good)
    assert str(error.value).startswith(f"{name}: expected ") and said in str(error.value)


@pytest.mark.parametrize("name", ["_3dmm_34.pth", "checkpoint_recon.pth", "3DMM_tri.dat", "shape_para_std.npy"])
def test_a_file_that_lacks_is_named(name, flat, tmp_path):
    folder = shutil.copytree(flat, tmp_path / "files")
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"expected {name}, found .*give a folder with"):
        SYSTEM.find(folder)
