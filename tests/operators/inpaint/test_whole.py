import numpy as np
import pytest

from operators.batch import Batch
from operators.images import decode_rgb, encode
from operators.inpaint.whole import BASELINES, BaselineFiller
from operators.pipeline import apply

RNG = np.random.default_rng(0)
TRUTH = np.full((24, 24, 3), 90, np.uint8) + RNG.integers(0, 4, (24, 24, 3)).astype(np.uint8)
HOLE = np.zeros((24, 24), bool)
HOLE[8:16, 6:18] = True
MASKED = np.where(HOLE[..., None], np.uint8(255), TRUTH)


def batch(names, image=MASKED, mask=HOLE, truth=TRUTH) -> Batch:
    n = len(names)
    return Batch.from_images(
        [encode(image)] * n,
        truth_bytes=[None if truth is None else encode(truth)] * n,
        given_mask_bytes=[None if mask is None else encode(mask)] * n,
        baseline=list(names),
    )


def test_each_baseline_gives_its_picture_and_others_pass():
    done = apply(BaselineFiller(), batch([*BASELINES, ""]))
    truth, masked, telea, navier_stokes, other = [decode_rgb(data) for data in done.rows["image_bytes"]]
    assert (truth == TRUTH).all() and (masked == MASKED).all() and (other == MASKED).all()
    for filled in (telea, navier_stokes):
        assert (filled[~HOLE] == TRUTH[~HOLE]).all()
        assert np.abs(filled[HOLE].astype(int) - TRUTH[HOLE]).max() < 10
    assert done.rows["input_bytes"][0] == encode(MASKED) and done.rows["input_bytes"][1] is None


def test_no_mask_is_an_empty_hole():
    done = apply(BaselineFiller(), batch(["telea"], mask=None))
    assert (decode_rgb(done.rows["image_bytes"][0]) == MASKED).all()


@pytest.mark.parametrize(
    ("baseline", "changes", "kind"),
    [
        ("truth", {"truth": None}, "MissingTruthError"),
        ("telea", {"mask": HOLE[:20]}, "ValueError"),
    ],
)
def test_what_is_lacking_is_said(baseline, changes, kind):
    done = apply(BaselineFiller(), batch([baseline, "masked"], **changes))
    assert done.rows["status"] == ["rejected", "ok"] and done.rows["error_type"][0] == kind


def test_an_undecodable_picture_harms_nobody_else():
    rows = batch(["telea", "telea"])
    rows.rows["image_bytes"][0] = b"no picture"
    assert apply(BaselineFiller(), rows).rows["status"] == ["rejected", "ok"]
