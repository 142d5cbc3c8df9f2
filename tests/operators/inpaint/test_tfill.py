from pathlib import Path

import numpy as np
import pytest
import torch

from operators.checkpoints.errors import CheckpointError
from operators.inpaint.tfill import TfillInpainter, TfillInpainterConfig
from operators.networks.tfill import build, find, read
from tests.official import tfill as official
from tests.operators.inpaint.faces import batch_of, drawn, given


@pytest.fixture(scope="module")
def layouts(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tfill")
    return official.variants(folder) | {"whole": official.write(folder / "written")}


def inpainter(checkpoint: str, **settings) -> TfillInpainter:
    return TfillInpainter(TfillInpainterConfig(**settings), network=build(read(find(Path(checkpoint)))))


@pytest.fixture(scope="module")
def whole(layouts) -> TfillInpainter:
    return inpainter(layouts["whole"])


@pytest.fixture(scope="module", autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


def cut(face: dict[str, np.ndarray], height: int, width: int) -> dict[str, np.ndarray]:
    return {name: value[-height:, :width] for name, value in face.items()}


def test_fills_the_hole_and_nothing_else_with_the_same_bytes_in_any_company(whole):
    faces = [drawn(64, seed) for seed in range(3)]
    together = whole(batch_of(*faces)).faces["inpainted"]
    for face, made in zip(faces, together, strict=True):
        assert np.array_equal(made[~face["hole"]], face["crop"][~face["hole"]])
        assert made[face["hole"]].std() > 5
    assert np.array_equal(whole(batch_of(faces[0])).faces["inpainted"][0], together[0])


@pytest.mark.parametrize("size", [(70, 50), (33, 97), (16, 16)])
def test_any_size(whole, size):
    made = whole.fill(given(cut(drawn(128), *size)))
    assert made.shape == (1, 3, *size) and made.isfinite().all()


def test_a_picture_that_is_all_hole_gets_numbers_and_one_without_stays(whole):
    face = drawn(32)
    hidden, open_ = face | {"hole": np.ones_like(face["hole"])}, face | {"hole": np.zeros_like(face["hole"])}
    assert whole.fill(given(hidden)).isfinite().all()
    assert torch.equal(whole.fill(given(open_)), given(open_).image)


def test_is_both_stages_of_the_network_with_polarity_and_range_turned(layouts):
    network = build(read(find(Path(layouts["without --add_noise"]))))
    face = given(drawn(64))
    known = (~face.hole)[:, None].float()
    stages = network(face.image * 2 - 1, known)
    operator = TfillInpainter(TfillInpainterConfig(), network=network)
    filled = [torch.where(face.hole[:, None], (stage + 1) / 2, face.image) for stage in stages]
    torch.testing.assert_close(operator.fill(face), filled[1], rtol=0, atol=1e-4)
    first = TfillInpainter(TfillInpainterConfig(refine="off"), network=network)
    torch.testing.assert_close(first.fill(face), filled[0], rtol=0, atol=1e-4)


def test_noise_is_the_seeds(layouts):
    one, other = given(drawn(64)), given(drawn(64), drawn(64)).take(slice(1, 2))
    assert one.seeds[0] != other.seeds[0]
    noisy, quiet = (inpainter(layouts[name], refine="off") for name in ("whole", "without --add_noise"))
    first = noisy.fill(one)
    assert torch.equal(first, noisy.fill(one)) and not torch.equal(first, noisy.fill(other))
    assert torch.equal(quiet.fill(one), quiet.fill(other))


def test_the_second_stage_can_be_asked_for(layouts):
    with pytest.raises(CheckpointError, match=r"expected latest_net_G_Ref\.pth.*set refine to auto"):
        inpainter(layouts["the first stage alone"], refine="on")
    assert inpainter(layouts["the first stage alone"]).fill(given(drawn(64))).isfinite().all()
    assert inpainter(layouts["whole"], refine="off").network.G_Ref is None


def test_works_at_another_size_when_asked(whole, layouts):
    larger = inpainter(layouts["whole"], short_side_px=96)
    face = given(cut(drawn(128), 48, 64))
    painted = larger.fill(face)
    assert painted.shape == face.image.shape and not torch.allclose(painted, whole.fill(face), atol=1e-2)


def test_half_precision_paints_the_same_picture(whole, layouts):
    face = given(drawn(64))
    exact, half = whole.fill(face), inpainter(layouts["whole"], precision="bfloat16").fill(face)
    hole = face.hole[:, None].expand_as(exact)
    assert (exact - half)[hole].abs().mean() < 0.05 < exact[hole].std()
