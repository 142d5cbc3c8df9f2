"""Everything that an evaluation writes at its end: the files, the page, and S3."""

import json
import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from jobs.evaluation.outcome import write_outcome
from jobs.evaluation.summary import SummaryOptions
from jobs.storage import LocalStorage, open_storage
from operators.codec import decode_rgb
from tests.jobs.evaluation import made_up

QUICK = SummaryOptions(resamples=100, order=("telea", "prior"))
EVIL = "\"><script>alert(1)</script>&'<img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Tables, cards and pictures of the page."""

    def __init__(self, text):
        super().__init__()
        self.rows: dict[str, list[str]] = {}
        self.cards: list[dict] = []
        self.images: list[str] = []
        self.options: list[str] = []
        self.scripts = 0
        self.outside: list[str] = []
        self._group = self._method = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "tbody":
            self._group = values.get("data-group")
        elif tag == "tr" and self._group is not None and "data-method" in values:
            self._method = (self._group, values["data-method"])
            self.rows[self._method] = []
        elif tag == "article":
            self.cards.append(values)
        elif tag == "img":
            self.images.append(values["src"])
        elif tag == "option":
            self.options.append(values["value"])
        self.scripts += tag == "script"
        self.outside += [v for k, v in attrs if k in ("src", "href") and re.match(r"\w+:", v) and not v.startswith("data:image/")]
        self.outside += [name for name, _ in attrs if name.startswith("on")]

    def handle_endtag(self, tag):
        if tag == "tr":
            self._method = None

    def handle_data(self, data):
        if self._method and data.strip():
            self.rows[self._method].append(data.strip())


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    storage = LocalStorage(str(tmp_path_factory.mktemp("evaluation")))
    made_up.write(storage, made_up.rows(24), pictures=True)
    return storage, write_outcome(storage, QUICK, title="Numbers")


def test_all_files_are_there_and_hold_the_same_numbers(output):
    storage, outcome = output
    assert {"metrics.parquet", "summary.json", "summary.md", "report.html", "plots/psnr_hole_db_distribution.svg"} <= set(
        outcome.files
    )
    assert {"sheets/prior.jpg", "sheets/telea.jpg"} <= set(outcome.files)
    assert all(storage.exists(name) for name in outcome.files)
    summary = json.loads(storage.read("summary.json"))
    assert summary == outcome.summary
    mean = f"{summary['methods']['prior']['metrics']['psnr_hole_db']['mean']:.2f}"
    page = Page(storage.read("report.html").decode())
    assert mean in storage.read("summary.md").decode() and mean in outcome.text and mean in page.rows["", "1"]
    assert page.rows["", "1"].count("weights not available") == 4
    median = f"{summary['methods']['telea']['metrics']['ssim_image']['median']:.3f}"
    assert f"median {median}, n 24" in storage.read("report.html").decode(), "what the short table leaves out is there as well"


def test_groups_of_the_page_are_those_of_the_summary(output):
    storage, outcome = output
    page = Page(storage.read("report.html").decode())
    groups = {f"{dimension}:{label}" for dimension, found in outcome.summary["groups"].items() for label in found}
    assert groups <= set(page.options) and groups == {group for group, _ in page.rows} - {""}
    record = outcome.summary["groups"]["mask_type"]["n95"]["methods"]["telea"]["psnr_hole_db"]
    assert f"{record['mean']:.2f}" in page.rows["mask_type:n95", "0"]
    told = {group for card in page.cards for group in card["data-groups"].split("\n")}
    assert told <= groups and "mask_type:n95" in told


def test_pictures_are_linked_and_there(output):
    storage, _ = output
    page = Page(storage.read("report.html").decode())
    assert len(page.images) == 4 * len(page.cards) and all(storage.exists(unquote(source)) for source in page.images)
    tags = [tag for card in page.cards for tag in card["data-tags"].split()]
    assert {tags.count(f"{method}:{role}") for method in (0, 1) for role in ("best", "median", "worst")} == {3}


def test_the_page_warns_stands_alone_and_runs_one_script(output):
    text = output[0].read("report.html").decode()
    page = Page(text)
    assert "must not be used to identify anyone" in text
    assert page.scripts == 1 and not page.outside and not re.search(r"url\((?!#)|@import|https?://(?!www\.w3\.org)", text)


def test_the_same_manifests_give_the_same_bytes(output, tmp_path):
    storage, outcome = output
    again = LocalStorage(str(tmp_path))
    made_up.write(again, made_up.rows(24), pictures=True)
    write_outcome(again, QUICK, title="Numbers")
    assert all(again.read(name) == storage.read(name) for name in outcome.files)


def test_names_stay_text(tmp_path):
    storage = LocalStorage(str(tmp_path))
    rows = made_up.only_psnr(made_up.rows(6))
    for row in rows:
        row["key"], row["subject"], row["group"] = row["key"] + EVIL, EVIL, row["group"] + EVIL
        row["method"] = row["method"] if row["method"] == "truth" else row["method"] + EVIL
    storage.write("manifest/a.parquet", made_up.manifest_bytes(made_up.table(rows)))
    outcome = write_outcome(storage, SummaryOptions(resamples=20), title=EVIL)
    text = storage.read("report.html").decode()
    assert "<script>alert" not in text and "<img src=x" not in text
    page = Page(text)
    assert page.scripts == 1 and not page.outside and page.cards and "sheets/" not in "".join(outcome.files)


def test_an_evaluation_of_one_picture_has_its_page(tmp_path):
    storage = LocalStorage(str(tmp_path))
    made_up.write(storage, made_up.rows(1, methods=("prior",)))
    outcome = write_outcome(storage, SummaryOptions(resamples=20))
    assert outcome.summary["methods"]["prior"]["metrics"]["psnr_hole_db"]["low"] is None
    assert "no interval" in storage.read("report.html").decode()


def test_on_s3_the_pictures_are_inside_the_page(bucket, s3_config):
    storage = open_storage(f"s3://{bucket}/evaluation", s3_config)
    made_up.write(storage, made_up.only_psnr(made_up.rows(3)), pictures=True)
    outcome = write_outcome(storage, QUICK, examples=1)
    images = Page(storage.read("report.html").decode()).images
    assert images and all(source.startswith("data:image/jpeg;base64,") for source in images)
    assert decode_rgb(storage.read("sheets/prior.jpg")).shape[2] == 3 and "summary.json" in outcome.files
