"""Networks and formulas of metrics: pytorch-fid, LPIPS, and what each source project's evaluation computes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import torch

from operators.metrics.pixels import l1, psnr_db, ssim
from operators.metrics.sets import frechet_distance
from operators.networks import lpips
from operators.networks.inception import FidInception, inception_input
from tests.conformance.fixture import Fixture
from tests.conformance.formula import centred

INPUTS = ("fid_img_u8", "a_u8", "b_u8", "big_a_u8", "big_b_u8")
_SET = re.compile(r'([AB]) = (?:([\d.]+)\+([\d.]+)\*)?Z\("([^"]+)",\((\d+),(\d+)\)\)')


def outputs(fixture: Fixture) -> Iterator[tuple[str, np.ndarray]]:
    known = fixture.expected
    a, b, wide_a, wide_b = (known[name] for name in ("a_u8", "b_u8", "big_a_u8", "big_b_u8"))
    yield "fid_features", features(fixture)
    sets = {
        found[0]: float(found[1] or 0) + float(found[2] or 1) * centred(found[3], (int(found[4]), int(found[5])))
        for found in _SET.findall(fixture.spec["inputs"]["features"])
    }
    yield "frechet", np.array([frechet_distance(sets["A"], sets["B"], resamples=0).value])
    for trunk in ("alex", "vgg"):
        yield f"lpips_{trunk}", distances(fixture, trunk)

    def measured(x: np.ndarray, y: np.ndarray, convention: str) -> np.ndarray:
        return np.array([how(x, y, None, convention).value for how in (psnr_db, ssim, l1)])

    yield "edgeconnect_psnr_ssim_mae", measured(wide_a, wide_b, "edgeconnect")
    yield "tfill_l1_psnr_ssim", measured(a, b, "tfill")[[2, 0, 1]]
    yield "mat_psnr_ssim_l1", measured(a, b, "mat")
    yield "lama_ssim", np.array([ssim(a, b, None, "lama").value])


def features(fixture: Fixture) -> np.ndarray:
    network = FidInception()
    network.load_state_dict(fixture.state("fid_inception"))
    with torch.inference_mode():
        batch = torch.stack([inception_input(picture, "pytorch-fid") for picture in fixture.expected["fid_img_u8"]])
        return network(batch).numpy()


def distances(fixture: Fixture, trunk: lpips.Trunk) -> np.ndarray:
    """The total and the layers'; linear weights are made positive and the scaling is the official one, as the spec says."""
    network = lpips.build(trunk)
    kept = {name: value for name, value in network.state_dict().items() if "scaling" in name}
    weights = {name: value.abs() if name.startswith("lin") else value for name, value in fixture.state(f"lpips_{trunk}").items()}
    network.load_state_dict(weights | kept)
    a, b = (
        torch.from_numpy(fixture.expected[name].transpose(2, 0, 1) / np.float32(127.5) - 1)[None] for name in ("a_u8", "b_u8")
    )
    with torch.inference_mode():
        maps = lpips.layer_maps(network, a, b)
        return np.array([float(lpips.distance(maps)[0]), *(float(layer.mean()) for layer in maps)])
