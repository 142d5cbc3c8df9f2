"""The contact sheet: what it shows, that names cannot become markup, and that it needs nothing but the output."""

import base64
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from jobs.ledger import commit_unit
from jobs.report import main, write_report
from jobs.sources import Unit
from jobs.storage import Storage, open_storage
from operators.batch import Batch

NASTY = '<script>alert("1")</script>&"\'><img src=x onerror=alert(2)>'


class Page(HTMLParser):
    """Elements with their attributes, and the text of elements of class `name`."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.names: list[str] = []
        self._in_name = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._in_name = dict(attrs).get("class") == "name"
        self.names += [""] if self._in_name else []

    def handle_endtag(self, tag):
        self._in_name = False

    def handle_data(self, data):
        if self._in_name:
            self.names[-1] += data

    def all(self, attribute: str, *tags: str) -> list[str]:
        return [a[attribute] or "" for tag, a in self.elements if attribute in a and (not tags or tag in tags)]

    @property
    def cards(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == "article"]


def picture(value: int, kind: str = "JPEG") -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), value, np.uint8)).save(sink, kind)
    return sink.getvalue()


def commit(storage: Storage, keys: list[str], statuses: list[str], part: int = 0) -> None:
    """A unit as the job writes it: one face per row that is ok, with sheet and restored picture; thumbnails for all."""
    batch = Batch.from_images([picture(i) for i in range(len(keys))], keys, shard="sh ard")
    ok = [i for i, status in enumerate(statuses) if status == "ok"]
    batch.set_faces(np.array(ok, np.int64))
    batch.put("fit_rmse_px", np.arange(len(ok)) + 0.25)
    for i, status in enumerate(statuses):
        files = {"thumb_before.jpg": picture(100 + i)}
        if status == "ok":
            batch.rows["restored_bytes"][i] = picture(50 + i, "PNG")
            files["face0_sheet.jpg"] = picture(150 + i)
        else:
            batch.mark_row(i, status, "SomeOperator", "SomeError", f"{NASTY} went wrong")
        batch.rows["artifact_bytes"][i] = files
    commit_unit(storage, Unit("sh ard", part, True, batch), "0" * 64, {}, {}, threads=2)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    commit(open_storage(tmp_path), ["plain", NASTY, "a b#c?d%20e", "ü/é"], ["ok", "ok", "failed", "ok"])
    return tmp_path


def page(out: Path, **options) -> Page:
    return Page((out / write_report(open_storage(out), **options)).read_text(encoding="utf-8"))


def test_names_and_messages_stay_text(out):
    sheet = page(out, title=NASTY, facts={NASTY: NASTY})
    tags = Counter(tag for tag, _ in sheet.elements)
    assert tags["script"] == 1 and tags["article"] == 4 and tags["img"] == 4
    assert not [name for _, attributes in sheet.elements for name in attributes if name.startswith("on")]
    assert f"sh ard/{NASTY} · face 0" in sheet.names and "sh ard/a b#c?d%20e" in sheet.names
    assert f"sh ard/{NASTY} · face 0" in [card["data-name"] for card in sheet.cards]


def test_nothing_comes_from_a_network_and_every_link_leads_to_a_file(out):
    sheet = page(out)
    links = sheet.all("src") + sheet.all("href")
    assert len(links) == 4 + 3, "a picture for each card, a link for each restored image"
    for link in links:
        assert not re.match(r"([a-z]+:|/)", link), link
        assert (out / unquote(link)).is_file(), link
    text = (out / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"url\(|@import|https?://|//[a-z]+\.", text.split("<main>")[0] + text.rsplit("</main>")[1])


def test_cards_show_the_sheet_of_a_face_and_the_thumbnail_where_there_is_none(out):
    by_status = {card["data-status"]: card for card in page(out).cards}
    assert set(by_status) == {"ok", "failed"}
    sources = [unquote(link) for link in page(out).all("src", "img")]
    assert Counter(Path(source).name for source in sources) == {"face0_sheet.jpg": 3, "thumb_before.jpg": 1}
    assert by_status["failed"]["data-fit_rmse_px"] == "–"
    assert {card["data-fit_rmse_px"] for card in page(out).cards} == {"0.25", "1.25", "2.25", "–"}


def test_a_sample_shows_every_status_and_is_the_same_every_time(tmp_path):
    statuses = ["ok"] * 60 + ["failed"] * 3 + ["no_face"]
    storage = open_storage(tmp_path)
    for part in range(2):
        commit(storage, [f"{part}-{i:02d}" for i in range(64)], statuses, part)
    sheet = page(tmp_path, most=9)
    shown = Counter(card["data-status"] for card in sheet.cards)
    assert set(shown) == {"ok", "failed", "no_face"} and shown.total() == 9 and min(shown.values()) >= 2
    first = (tmp_path / "report.html").read_bytes()
    assert b"A sample of 9 of 128 images" in first and b"<li>ok<b>120</b></li>" in first
    page(tmp_path, most=9)
    assert (tmp_path / "report.html").read_bytes() == first


def test_an_empty_run_has_an_empty_sheet(tmp_path):
    assert page(tmp_path).cards == []


def test_on_s3_the_pictures_are_inside_the_file(bucket, s3_config, s3_endpoint, capsys):
    uri = f"s3://{bucket}/run"
    storage = open_storage(uri, s3_config)
    commit(storage, ["plain", NASTY], ["ok", "failed"])
    assert main([uri, "--endpoint", s3_endpoint]) == 0
    sheet = Page(storage.read("report.html").decode())
    sources = sheet.all("src", "img")
    assert len(sources) == 2 and sheet.all("href") == []
    data = {base64.b64decode(source.removeprefix("data:image/jpeg;base64,"), validate=True) for source in sources}
    assert data == {picture(150), picture(101)}
