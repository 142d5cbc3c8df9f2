import csv
import io

import numpy as np
from PIL import Image

from jobs.cli import main


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def test_pairs_are_made_alike_and_the_rest_is_listed(tmp_path, capsys):
    hole = np.zeros((100, 120), np.uint8)
    hole[40:80, 30:90] = 255
    photo = np.random.default_rng(0).integers(0, 255, (100, 120, 3), dtype=np.uint8)
    for name in ("a", "b", "alone"):
        picture(tmp_path / f"photos/{name}.jpg", photo)
    for name, mask in (("a", hole), ("b", 0 * hole), ("stray", hole)):
        picture(tmp_path / f"masks/{name}.png", mask)
    flags = ["--input", f"{tmp_path}/photos", "--source.masks", f"{tmp_path}/masks", "--output", f"{tmp_path}/out"]
    assert main(["pairs", *flags, "--pair.size_px", "64", "--execution.kind", "inline"]) == 0
    made = sorted(p.name for p in (tmp_path / "out/samples/images-000000").iterdir())
    assert made == ["a.json", "a.mask.png", "a.png"]
    assert Image.open(tmp_path / "out/samples/images-000000/a.png").size == (64, 64)
    dropped = list(csv.DictReader(io.StringIO((tmp_path / "out/dropped.csv").read_text())))
    reasons = {row["name"].rpartition("/")[2]: row["reason"] for row in dropped}
    assert reasons == {"alone": "NoPartnerError", "b": "EmptyMaskError", "stray.png": "NoPictureError"}
    assert "NoPartnerError" in capsys.readouterr().out


def test_masks_turned_over_twice_and_masks_left_aside_are_refused(tmp_path, capsys):
    flags = ["pairs", "--input", str(tmp_path), "--output", f"{tmp_path}/out"]
    assert main([*flags, "--source.hole_colour", "black", "--pair.hole_in", "black"]) == 2
    assert "twice" in capsys.readouterr().err
    assert main([*flags, "--source.ignore_masks", "true"]) == 2
