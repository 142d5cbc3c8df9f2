import io

import numpy as np
from PIL import Image

from operators.batch import Batch
from operators.images import decode_rgb, encode
from operators.sheets import ResultSheet, SampleSheet, SampleSheetConfig

PICTURE = np.full((40, 30, 3), 120, np.uint8)
HOLE = np.zeros((40, 30), bool)
HOLE[20:] = True


def test_a_sample_is_shown_as_truth_masked_and_hole():
    batch = Batch.from_images([b"x", b"y"])
    files = {"png": encode(PICTURE), "mask.png": encode(HOLE), "truth.png": encode(PICTURE), "json": b"{}"}
    batch.rows["sample_bytes"] = [files, None]
    shown, nothing = SampleSheet(SampleSheetConfig(longest_px=20))(batch).rows["artifact_bytes"]
    assert nothing is None and decode_rgb(shown["sheet.jpg"]).shape == (20, 45, 3)
    tinted = decode_rgb(shown["sheet.jpg"])[-4:, -8:].astype(int)
    assert tinted[..., 0].mean() > tinted[..., 1].mean() + 40


def test_results_are_kept_small_and_a_broken_one_is_left_out():
    batch = Batch.from_images(
        [encode(PICTURE), b"broken", encode(PICTURE)],
        baseline=["", "", "truth"], input_bytes=[None, None, encode(PICTURE)], truth_bytes=[None, None, encode(PICTURE)],
    )  # fmt: skip
    kept = ResultSheet()(batch).rows["artifact_bytes"]
    assert [sorted(files) for files in kept] == [["result.jpg"], [], ["masked.jpg", "truth.jpg"]]
    assert Image.open(io.BytesIO(kept[0]["result.jpg"])).size == (30, 40)
