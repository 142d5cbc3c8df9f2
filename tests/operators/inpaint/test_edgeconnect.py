from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.edges import canny_skimage
from operators.inpaint.base import FillInput
from operators.inpaint.edgeconnect import EdgeConnectInpainter, EdgeConnectInpainterConfig
from operators.networks.edgeconnect import SYSTEM, EdgeConnect
from tests.official import edgeconnect as official
from tests.operators.inpaint.faces import batch_of, drawn
from tests.operators.inpaint.faces import given as faces_given


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> EdgeConnect:
    folder = official.write(tmp_path_factory.mktemp("official"))
    return SYSTEM.build(SYSTEM.read(SYSTEM.find(Path(folder))))


def given(size: int = 64, faces: int = 2) -> FillInput:
    scene = faces_given(*(drawn(size, seed) for seed in range(faces)))
    edges = torch.rand(scene.hole.shape, generator=torch.Generator().manual_seed(3)) < 0.1
    return replace(scene, edges=edges)


def filled(network: EdgeConnect, scene: FillInput, **options: object) -> torch.Tensor:
    with torch.inference_mode():
        return EdgeConnectInpainter(EdgeConnectInpainterConfig(**options), network=network).fill(scene)  # type: ignore[arg-type]


@torch.inference_mode()
def test_the_default_is_what_test_py_computes(network):
    scene = given()
    hole = scene.hole[:, None].float()
    edges = canny_skimage(scene.image, 2.0, ~scene.hole)[:, None].float()
    expected = network(scene.image, edges, hole, "joint", merged=False)
    torch.testing.assert_close(
        filled(network, scene), torch.where(scene.hole[:, None], expected, scene.image), rtol=1e-4, atol=1e-5
    )
    merged = filled(network, scene, merged=True)
    assert not torch.allclose(merged, filled(network, scene), atol=1e-4)


def test_faces_alone_and_together_have_the_same_bits_and_known_pixels_stay(network):
    faces = [drawn(64, seed) for seed in range(3)]
    inpainter = EdgeConnectInpainter(EdgeConnectInpainterConfig(batch_size=2), network=network)
    together = inpainter(batch_of(*faces)).faces["inpainted"]
    for i, face in enumerate(faces):
        assert np.array_equal(inpainter(batch_of(face)).faces["inpainted"][0], together[i])
        assert np.array_equal(together[i][~face["hole"]], face["crop"][~face["hole"]])
        assert not np.array_equal(together[i][face["hole"]], face["crop"][face["hole"]])


@pytest.mark.parametrize("size", [62, 67, 10, 5])
def test_sides_that_are_no_multiples_of_four(network, size):
    scene = given(size, 1)
    wide = FillInput(**{
        name: value if value.ndim < 3 else torch.cat([value, value], -1)
        for name in scene.__dataclass_fields__ if (value := getattr(scene, name)) is not None
    })  # fmt: skip
    for mode in ("edge", "inpaint", "joint"):
        result = filled(network, wide, mode=mode)
        assert result.shape == wide.image.shape and torch.isfinite(result).all()


def test_mode_edge_draws_the_edges_themselves(network):
    scene = given()
    drawn_edges = filled(network, scene, mode="edge")
    inside = drawn_edges.movedim(1, -1)[scene.hole]
    assert torch.equal(inside[:, 0], inside[:, 2]) and inside.min() >= 0 and inside.max() <= 1


def test_edges_of_the_render_reach_the_hole_in_mode_inpaint(network):
    scene = given()
    other = replace(scene, edges=scene.edges ^ scene.hole)
    along = {"mode": "inpaint", "edges": "render"}
    assert not torch.allclose(filled(network, scene, **along), filled(network, other, **along), atol=1e-4)
    assert torch.equal(filled(network, scene, mode="inpaint"), filled(network, other, mode="inpaint"))  # edges: photo
    assert torch.equal(filled(network, scene, edges="render"), filled(network, other, edges="render"))  # the network's own there


def test_what_non_maximum_suppression_leaves(network):
    scene = replace(given(128), edges=torch.ones(2, 128, 128, dtype=torch.bool))

    def known(nms: str, **options: object) -> torch.Tensor:
        config = EdgeConnectInpainterConfig(mode="inpaint", edges="render", nms=nms, **options)  # type: ignore[arg-type]
        return EdgeConnectInpainter(config, network=network).known_edges(scene)

    assert known("none").all()
    photo, completed = known("photo"), known("completed")
    assert torch.equal(photo, canny_skimage(scene.image, 2.0, ~scene.hole)) and not (photo & scene.hole).any()
    assert scene.prior is not None and (completed & scene.hole).any()
    assert torch.equal(completed, canny_skimage(torch.where(scene.hole[:, None], scene.prior, scene.image), 2.0))


def test_where_the_scale_of_canny_comes_from(network):
    scene = given(128)

    def known(sigma: float | None, stated: float | None = None) -> torch.Tensor:
        own = EdgeConnect(network.edge, network.inpaint, stated).eval()
        return EdgeConnectInpainter(EdgeConnectInpainterConfig(sigma_px=sigma), network=own).known_edges(scene)

    two, one = (canny_skimage(scene.image, sigma, ~scene.hole) for sigma in (2.0, 1.0))
    assert not torch.equal(one, two)
    assert torch.equal(known(None), two) and torch.equal(known(None, 1.0), one) and torch.equal(known(2.0, 1.0), two)
    assert not known(-1.0).any()
    chosen = known(0.0)
    each = [canny_skimage(scene.image, sigma, ~scene.hole) for sigma in (1.0, 2.0, 3.0, 4.0)]
    assert all(any(torch.equal(chosen[i], maps[i]) for maps in each) for i in range(2))
    assert torch.equal(chosen, known(0.0))


def test_what_is_lacking_is_said(network):
    scene = replace(given(), edges=None, prior=None)
    with pytest.raises(ValueError, match=r"expected FillInput\.edges, got none: run HolePlanner"):
        filled(network, scene, edges="render")
    with pytest.raises(ValueError, match=r"expected FillInput\.prior, got none: run FaceRenderer"):
        filled(network, replace(scene, edges=scene.hole), edges="render", nms="completed")
    alone = EdgeConnect(None, network.inpaint)
    with pytest.raises(CheckpointError, match=r"expected EdgeModel_gen\.pth for mode joint, found none"):
        EdgeConnectInpainter(EdgeConnectInpainterConfig(), network=alone)
    assert filled(alone, given(), mode="inpaint").shape == (2, 3, 64, 64)


def test_a_config_with_a_checkpoint_is_enough(tmp_path):
    (tmp_path / "files").mkdir()
    checkpoint = official.variants(tmp_path / "files")["old_norm"]
    config = EdgeConnectInpainterConfig(checkpoint=checkpoint, precision="bfloat16")
    result = EdgeConnectInpainter(config, AssetStore(tmp_path / "cache")).fill(given())
    assert torch.isfinite(result).all()
    assert [path.name.split("-")[0] for path in (tmp_path / "cache" / "networks").iterdir()] == ["edgeconnect"]
