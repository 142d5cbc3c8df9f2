"""The contact sheet: what it shows, that it stands alone, and that no name can break out of it."""

import base64
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from jobs.report import main, write_report
from jobs.storage import LocalStorage, Storage, open_storage
from operators.arrow import manifest_bytes, to_manifest
from operators.batch import Batch
from operators.codec import decode_rgb
from operators.images import encode

EVIL = "\"><script>alert(1)</script>&'<img src=x onerror=alert(2)>"
PICTURE = encode(np.full((60, 300, 3), 90, np.uint8), "JPEG", quality=80)


class Page(HTMLParser):
    """Cards with their links, pictures and text."""

    def __init__(self, text: str):
        super().__init__()
        self.cards: list[dict] = []
        self.scripts = 0
        self.options: list[str] = []
        self.outside: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        values = dict(attrs)
        if tag == "article":
            self.cards.append({**values, "links": [], "images": [], "text": ""})
        elif tag == "a":
            self.cards[-1]["links"].append(values["href"])
        elif tag == "img":
            self.cards[-1]["images"].append(values["src"])
        elif tag == "option":
            self.options.append(values["value"])
        self.scripts += tag == "script"
        self.outside += [v for k, v in attrs if k in ("src", "href") and not re.match(r"data:image/|[^:/]+/", v or "")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self.cards:
            self.cards[-1]["text"] += data


def write_run(storage: Storage) -> None:
    """A run of four images: two faces, none, one that failed, and one with a name that wants out."""
    batch = Batch.from_images([b"x"] * 4, ["two", "none", "broken", "evil"])
    batch.rows["image_id"] = ["a/two", "a/none", "a/broken", f"a/{EVIL}"]
    batch.rows["status"] = ["ok", "no_face", "failed", "nothing_to_fill"]
    batch.rows["error_operator"] = ["", "", "ImageDecoder", ""]
    batch.rows["error_type"] = ["", "", "CorruptImageError", ""]
    batch.rows["error_message"] = ["", "", f"not an image {EVIL}", ""]
    batch.face_row = np.array([0, 0, 3])
    batch.faces = {
        "face_index": np.array([0, 1, 0], np.int32),
        "face_status": np.array(["ok", "low_confidence", "nothing_to_fill"], object),
        "face_message": np.array(["", "the face mesh is 0.10 sure", ""], object),
        "fit_rmse_px": np.array([1.5, np.nan, 0.25], np.float32),
    }
    names = {
        0: ["restored.png", "thumb_before.jpg", "thumb_after.jpg", "face0_sheet.jpg", "face0_mesh.obj"]
        + [f"face0_view_{angle}.jpg" for angle in (-60, 0, 60)],
        1: ["thumb_before.jpg"],
        3: ["thumb_before.jpg"],
    }
    listed = [
        [{"name": n, "path": f"artifacts/a/{i} #%/{n}", "sha256": "", "bytes": 1} for n in names.get(i, ())] for i in range(4)
    ]
    for item in (item for items in listed for item in items):
        storage.write(item["path"], PICTURE)
    storage.write("manifest/a/00000.parquet", manifest_bytes(to_manifest(batch, artifacts=listed)))


@pytest.fixture
def output(tmp_path: Path) -> LocalStorage:
    storage = LocalStorage(str(tmp_path / "out"))
    write_run(storage)
    return storage


def page(storage: Storage, **options) -> Page:
    return Page(storage.read(write_report(storage, **options)).decode())


def test_a_card_per_face_and_one_per_image_without(output):
    cards = page(output).cards
    assert [card["data-name"] for card in cards] == [f"a/{EVIL}", "a/broken", "a/none", "a/two · face 0", "a/two · face 1"]
    assert [card["data-status"] for card in cards] == ["nothing_to_fill", "failed", "no_face", "ok", "low_confidence"]
    assert [card["data-fit_rmse_px"] for card in cards] == ["0.25", "–", "–", "1.50", "–"]


def test_links_lead_to_files_that_are_there(output, tmp_path):
    from urllib.parse import unquote

    card = page(output).cards[3]
    names = [unquote(link).rpartition("/")[2] for link in card["links"]]
    assert names[-2:] == ["restored.png", "face0_mesh.obj"]
    views = [name for name in names if "view" in name]
    assert views == ["face0_view_-60.jpg", "face0_view_0.jpg", "face0_view_60.jpg"], "in the order of their angles"
    assert all((tmp_path / "out" / unquote(link)).is_file() for link in card["links"] + card["images"])


def test_a_card_without_a_restored_image_says_why(output):
    evil, broken, none, first, second = (card["text"] for card in page(output).cards)
    assert "No restored image: nothing covers the face" in evil
    assert f"No restored image: ImageDecoder: CorruptImageError: not an image {EVIL}" in broken
    assert "No restored image: no face was found" in none
    assert "No restored image" not in first + second and "the face mesh is 0.10 sure" in second


def test_every_status_on_a_card_can_be_chosen(output):
    found = page(output)
    assert {card["data-status"] for card in found.cards} <= set(found.options)


def test_names_stay_text_and_nothing_is_fetched(output):
    found = page(output, title=EVIL, facts={EVIL: EVIL})
    assert found.scripts == 1 and not found.handlers and not found.outside
    text = output.read("report.html").decode()
    assert "<script>alert" not in text
    around = text.split("<main>")[0] + text.rsplit("</main>")[1]
    assert not re.search(r"url\(|@import|https?://", around), "no style or script from elsewhere"


def test_embedded_pictures_need_no_other_file(output):
    found = page(output, embed=True)
    images = [image for card in found.cards for image in card["images"]]
    assert len(images) > 6 and all(image.startswith("data:image/jpeg;base64,") for image in images)


def test_a_sample_shows_every_status_and_is_the_same_every_time(tmp_path):
    storage = LocalStorage(str(tmp_path / "out"))
    for part in range(2):
        batch = Batch.from_images([b"x"] * 64, [f"{part}-{i:02d}" for i in range(64)])
        batch.rows["status"] = ["ok"] * 60 + ["failed"] * 3 + ["no_face"]
        storage.write(f"manifest/a/{part:05d}.parquet", manifest_bytes(to_manifest(batch)))
    shown = Counter(card["data-status"] for card in page(storage, most=9).cards)
    assert set(shown) == {"ok", "failed", "no_face"} and shown.total() == 9 and min(shown.values()) >= 2
    first = storage.read("report.html")
    assert b"A sample of 9 of 128 images" in first and b"<li>ok<b>120</b></li>" in first
    page(storage, most=9)
    assert storage.read("report.html") == first


def test_an_empty_run_has_an_empty_sheet(tmp_path):
    assert page(LocalStorage(str(tmp_path / "out"))).cards == []


def test_on_s3_the_pictures_are_inside_the_file(bucket, s3_config, s3_endpoint):
    storage = open_storage(f"s3://{bucket}/run", s3_config)
    write_run(storage)
    assert main([storage.uri, "--endpoint", s3_endpoint]) == 0
    found = Page(storage.read("report.html").decode())
    images = [image for card in found.cards for image in card["images"]]
    assert len(images) > 6 and len(found.cards) == 5 and not found.outside
    for image in images:
        pixels = decode_rgb(base64.b64decode(image.removeprefix("data:image/jpeg;base64,"), validate=True))
        assert np.abs(pixels.astype(int) - 90).max() <= 2


def test_the_command_makes_it_anew(output, capsys):
    assert main([output.uri]) == 0
    assert capsys.readouterr().out.strip() == "report.html" and output.exists("report.html")


def test_a_training_sample_is_one_card_with_what_was_put_on(tmp_path):
    storage = open_storage(str(tmp_path))
    batch = Batch.from_images([b"x"], ["p"], "a")
    batch.set_faces(np.array([0, 0]))
    batch.put("mask_type", ["n95", ""])
    batch.put("mask_colour", ["", ""])
    batch.put("mask_texture", ["", ""])
    batch.put("mask_coverage", [0.41, np.nan])
    names = {"sample.png": "samples/a/p.png", "sample.truth.png": "samples/a/p.truth.png", "sheet.jpg": "artifacts/a/p/sheet.jpg"}
    listed = [[{"name": name, "path": path, "sha256": "0", "bytes": 1} for name, path in names.items()]]
    storage.write("manifest/a/00000.parquet", manifest_bytes(to_manifest(batch, artifacts=listed, job="synthesize")))
    storage.write("run.json", b'{"job": "synthesize"}')
    page = storage.read(write_report(storage)).decode()
    assert page.count("<article") == 1 and "Masked faces" in page and "n95" in page and "0.41" in page
    assert 'href="samples/a/p.truth.png"' in page and "artifacts/a/p/sheet.jpg" in page
