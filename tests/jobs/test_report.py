"""The contact sheet: what it shows, that it stands alone, and that no name can break out of it."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from jobs.report import main, write_report
from jobs.storage import LocalStorage
from operators.arrow import manifest_bytes, to_manifest
from operators.batch import Batch
from operators.images import encode

EVIL = '"><script>alert(1)</script>&'
PICTURE = encode(np.full((60, 300, 3), 90, np.uint8), "JPEG", quality=80)


class Page(HTMLParser):
    """Cards with their links, pictures and text."""

    def __init__(self, text: str):
        super().__init__()
        self.cards: list[dict] = []
        self.scripts = 0
        self.options: list[str] = []
        self.outside: list[str] = []
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
        self.outside += [v for k, v in attrs if k in ("src", "href") and re.match(r"(?i)(https?:)?//", v or "")]

    def handle_data(self, data: str) -> None:
        if self.cards:
            self.cards[-1]["text"] += data


@pytest.fixture
def output(tmp_path: Path) -> LocalStorage:
    """A run of four images: two faces, none, one that failed, and one with a name that wants out."""
    storage = LocalStorage(str(tmp_path / "out"))
    batch = Batch.from_images([b"x"] * 4, ["two", "none", "broken", "evil"])
    batch.rows["image_id"] = ["a/two", "a/none", "a/broken", f"a/{EVIL}"]
    batch.rows["status"] = ["ok", "no_face", "failed", "nothing_to_fill"]
    batch.rows["error_operator"] = ["", "", "image_decoder", ""]
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
    return storage


def page(storage: LocalStorage, **options) -> Page:
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
    assert f"No restored image: image_decoder: CorruptImageError: not an image {EVIL}" in broken
    assert "No restored image: no face was found" in none
    assert "No restored image" not in first + second and "the face mesh is 0.10 sure" in second


def test_every_status_on_a_card_can_be_chosen(output):
    found = page(output)
    assert {card["data-status"] for card in found.cards} <= set(found.options)


def test_names_stay_text_and_nothing_is_fetched(output):
    found = page(output)
    assert found.scripts == 1 and not found.outside
    assert "<script>alert" not in output.read("report.html").decode()


def test_embedded_pictures_need_no_other_file(output):
    found = page(output, embed=True)
    images = [image for card in found.cards for image in card["images"]]
    assert len(images) > 6 and all(image.startswith("data:image/jpeg;base64,") for image in images)


def test_a_sample_shows_every_status(output):
    found = page(output, most=3)
    assert len({card["data-status"] for card in found.cards}) >= 3
    assert "A sample of 3 of 4 images" in output.read("report.html").decode()


def test_the_command_makes_it_anew(output, capsys):
    assert main([output.uri]) == 0
    assert capsys.readouterr().out.strip() == "report.html" and output.exists("report.html")
