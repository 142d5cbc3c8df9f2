import numpy as np
import pytest
import torch

from operators.networks.inception import FidInception, inception_input
from tests.formula_weights import formula_weights
from tests.operators.metrics.published import published


@pytest.fixture(scope="module")
def network() -> FidInception:
    network = FidInception()
    network.load_state_dict(formula_weights(network.state_dict()))
    return network


def test_features_are_pytorch_fids(network):
    assert len(network.state_dict()) == 566
    pictures = published()["fid_img_u8"]
    with torch.inference_mode():
        features = network(torch.stack([inception_input(picture, "pytorch-fid") for picture in pictures])).numpy()
    known = published()["fid_features"]
    assert np.abs(features - known).max() < 1e-4 * known.std()


def test_pictures_are_resized_as_each_program_does():
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as tensorflow1

    picture = published()["fid_img_u8"][0]
    pixels = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32))[None]
    theirs = (tensorflow1(pixels, size=(299, 299), align_corners=False)[0] - 128) / 128
    torch.testing.assert_close(inception_input(picture, "torch-fidelity"), theirs, atol=1e-6, rtol=0)
    flat = np.full((40, 50, 3), 200, np.uint8)
    assert inception_input(flat, "pytorch-fid").numpy() == pytest.approx(2 * 200 / 255 - 1, abs=1e-6)
    assert inception_input(flat, "clean-fid").numpy() == pytest.approx((200 - 128) / 128, abs=1e-6)


def test_only_clean_fid_averages_when_it_shrinks():
    stripes = np.zeros((598, 598, 3), np.uint8)
    stripes[:, 1::2] = 255
    spread = {name: float(inception_input(stripes, name)[:, 20:-20, 20:-20].std()) for name in ("clean-fid", "torch-fidelity")}
    assert spread["clean-fid"] < 0.05  # every other column of 0 and 255 becomes grey
    assert float(inception_input(stripes, "torch-fidelity").max()) == -1  # only the even columns are seen


def test_bicubic_overshoot_is_cut_off():
    edge = np.zeros((60, 60, 3), np.uint8)
    edge[:, 30:] = 255
    found = inception_input(edge, "clean-fid")
    assert float(found.min()) == -1 and float(found.max()) == pytest.approx(127 / 128)
