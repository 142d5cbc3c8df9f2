"""The contact sheet of a run: before | occluder | render | hole | after, one card per face, in one HTML file.

The file needs no server and no network. Pictures are linked where the output is a folder and embedded where it is not.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.storage import Storage, open_storage
from operators.artifacts import shrink
from operators.images import decode_rgb, encode

_TEMPLATES = Path(__file__).parent / "templates"
_SCORES = {
    "detection_score": "detector",
    "mesh_score": "mesh",
    "fit_rmse_px": "fit error, px",
    "mask_coverage": "mask coverage",
    "hidden_fraction": "landmarks hidden",
}
_ORDERS = {
    "name": "name",
    "fit_rmse_px:down": "fit error, worst first",
    "fit_rmse_px:up": "fit error, best first",
    "mask_coverage:down": "mask coverage, most first",
    "mesh_score:up": "mesh score, lowest first",
    "detection_score:up": "detector score, lowest first",
}
_PLAIN = {
    "no_face": "no face was found",
    "nothing_to_fill": "nothing covers the face, so the photo was left as it is",
    "low_confidence": "no face could be placed with confidence",
}
_SUMMARY = {"elapsed_s": "seconds, last session", "images_per_s": "images per second", "finished": "finished"}
_EMBEDDED_PX, _EMBEDDED_SHEET_PX = 160, 900
_COLUMNS = ["image_id", "source", "status", "error_operator", "error_type", "error_message", "faces", "artifacts"]
_ABOUT = {
    "synthesize": (
        "Masked faces",
        "Masks and other things were put on these photos; the truth and the exact hole are beside each.",
    ),
    "pairs": ("Training pairs", "Pictures and their holes, cut and resized alike; dropped.csv lists what could not be a pair."),
}
"""Title and first sentence of the pages of other jobs than reconstruct."""
_WARNING = (
    "What stands where the mask was is a guess drawn from a model of many faces. It is never evidence of what a person "
    "looks like, and must not be used to identify anyone."
)


def manifest_rows(storage: Storage) -> Iterator[dict[str, Any]]:
    """Every manifest row of a run as a dict of the columns the report shows, in name order."""
    for item in sorted(storage.list("manifest/"), key=lambda item: item.key):
        if not item.key.endswith(".parquet"):
            continue
        table = pq.read_table(pa.BufferReader(storage.read(item.key)), columns=_COLUMNS)
        yield from table.to_pylist()


def _sample(rows: Iterator[dict[str, Any]], most: int) -> tuple[list[dict[str, Any]], Counter[str], int]:
    """Up to `most` rows spread over all statuses, the same ones every time; counts by status; number of faces."""
    counts: Counter[str] = Counter()
    kept: dict[str, list[tuple[bytes, dict[str, Any]]]] = {}
    n_faces = 0
    for row in rows:
        counts[row["status"]] += 1
        n_faces += len(row["faces"] or ())
        group = kept.setdefault(row["status"], [])
        group.append((hashlib.sha256(row["image_id"].encode()).digest(), row))
        if len(group) > 2 * most:
            group.sort(key=lambda item: item[0])
            del group[most:]
    ordered = {status: sorted(group, key=lambda item: item[0])[:most] for status, group in kept.items()}
    chosen: list[dict[str, Any]] = []
    while len(chosen) < most and any(ordered.values()):
        for group in ordered.values():
            if group and len(chosen) < most:
                chosen.append(group.pop(0)[1])
    return sorted(chosen, key=lambda row: row["image_id"]), counts, n_faces


def _link(path: str) -> str:
    return "/".join(quote(part) for part in path.split("/"))


class _Files:
    """The artifacts of one image as the report shows them: linked beside the report, or embedded in it."""

    def __init__(self, storage: Storage, row: dict[str, Any], embed: bool):
        self.paths: dict[str, str] = {item["name"]: item["path"] for item in row["artifacts"] or ()}
        self._storage, self._embed = storage, embed

    def picture(
        self, name: str | None, label: str, longest_px: int | None = None, css: str = "", leads_to: str | None = None
    ) -> str:
        """A linked `img`, empty when there is no file; `longest_px` shrinks what is embedded, `leads_to` links another file."""
        path = self.paths.get(name or "")
        if path is None:
            return ""
        source = html.escape(self._data(path, longest_px) if self._embed else _link(path))
        target = html.escape(_link(self.paths.get(leads_to or "", path)))
        image = f'<img loading="lazy" src="{source}" alt="{html.escape(label)}" class="{css}">'
        return f'<a href="{target}" title="{html.escape(label)}">{image}</a>'

    def _data(self, path: str, longest_px: int | None) -> str:
        data = self._storage.read(path)
        kind = "png" if path.endswith(".png") else "jpeg"
        if longest_px is not None:
            data, kind = encode(shrink(decode_rgb(data), longest_px), "JPEG", quality=80), "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"

    def link(self, name: str | None, label: str) -> str:
        """A link to a file, its full name as the tooltip; empty when there is no such file."""
        path = self.paths.get(name or "")
        if path is None:
            return ""
        title = html.escape(self._storage.locate(path))
        return f'<a href="{html.escape(_link(path))}" title="{title}">{html.escape(label)}</a>'


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _status(row: dict[str, Any], face: dict[str, Any] | None) -> str:
    return str(row["status"] if face is None or row["status"] != "ok" else face["face_status"])


def _card(files: _Files, row: dict[str, Any], face: dict[str, Any] | None) -> str:
    prefix = f"face{face['face_index']}_" if face else "none_"
    name = html.escape(row["image_id"] + (f" · face {face['face_index']}" if len(row["faces"] or ()) > 1 and face else ""))
    status = html.escape(_status(row, face))
    values = {key: (face or {}).get(key) for key in _SCORES}
    sheet = files.picture(f"{prefix}sheet.jpg", f"{row['image_id']}: before, occluder, render, hole, after", _EMBEDDED_SHEET_PX)
    heads = "".join(f"<span>{title}</span>" for title in ("before", "occluder", "render", "hole", "after"))
    restored = next((n for n in files.paths if n.startswith("restored.")), None)
    before = files.picture("thumb_before.jpg", "the whole photo before", _EMBEDDED_PX)
    after = files.picture("thumb_after.jpg", "the whole photo after, full size", _EMBEDDED_PX, leads_to=restored)
    views = "".join(
        files.picture(
            view,
            f"seen from {view.removeprefix(f'{prefix}view_').removesuffix('.jpg').replace('_', '°, ')}°",
            _EMBEDDED_PX,
            "view",
        )
        for view in sorted((n for n in files.paths if n.startswith(f"{prefix}view_")), key=_angle)
    )
    links = [files.link(restored, "restored image")]
    links += [files.link(f"{prefix}mesh.{kind}", f"mesh .{kind}") for kind in ("obj", "ply", "glb")]
    facts = [f"<span>{label} <b>{_number(values[key])}</b></span>" for key, label in _SCORES.items()] if face else []
    messages = [(face or {}).get("face_message") or "", _reason(row, restored)]
    notes = "".join(f'<p class="message">{html.escape(text)}</p>' for text in dict.fromkeys(messages) if text)
    strip = before + (after if restored else "") + views
    data = "".join(f' data-{key}="{_number(value)}"' for key, value in values.items())
    return (
        f'<article data-name="{name}" data-status="{status}"{data}>'
        + (f'<div class="heads">{heads}</div><div class="sheet">{sheet}</div>' if sheet else "")
        + (f'<div class="strip">{strip}</div>' if strip else "")
        + f'<div class="text"><h2>{name}</h2><span class="status {status}">{status.replace("_", " ")}</span>'
        + f'<span class="links">{" ".join(link for link in links if link)}</span>'
        + (f'<div class="facts">{"".join(facts)}</div>' if facts else "")
        + f"{notes}</div></article>"
    )


def _sample_card(files: _Files, row: dict[str, Any]) -> str:
    """A training sample: truth, masked picture and hole, and what each face got."""
    name, status = html.escape(row["image_id"]), html.escape(row["status"])
    faces = row["faces"] or ()
    titles = ("truth", "masked", "hole") if any(n.startswith("sample.truth.") for n in files.paths) else ("picture", "hole")
    sheet = files.picture("sheet.jpg", f"{row['image_id']}: {', '.join(titles)}", _EMBEDDED_SHEET_PX)
    heads = f'<div class="heads of{len(titles)}">' + "".join(f"<span>{title}</span>" for title in titles) + "</div>"
    worn = [" ".join(filter(None, (f.get("mask_type"), f.get("mask_colour"), f.get("mask_texture")))) for f in faces]
    facts = [f"<span>{html.escape(text)}</span>" for text in worn if text]
    covered = [face.get("mask_coverage") for face in faces if face.get("mask_coverage") is not None]
    values = {"mask_coverage": max(covered, default=None)}
    facts += [f"<span>{_SCORES[key]} <b>{_number(value)}</b></span>" for key, value in values.items() if value is not None]
    links = [files.link(item, item.removeprefix("sample.")) for item in sorted(files.paths) if item.startswith("sample.")]
    data = "".join(f' data-{key}="{_number(value)}"' for key, value in values.items())
    return (
        f'<article data-name="{name}" data-status="{status}"{data}>'
        + (f'{heads}<div class="sheet">{sheet}</div>' if sheet else "")
        + f'<div class="text"><h2>{name}</h2><span class="status {status}">{status.replace("_", " ")}</span>'
        + f'<span class="links">{" ".join(links)}</span><div class="facts">{"".join(facts)}</div></div></article>'
    )


def _angle(name: str) -> tuple[float, float]:
    """Yaw and pitch in a view's name."""
    yaw, _, pitch = name.rpartition("view_")[2].removesuffix(".jpg").partition("_")
    try:
        return float(yaw), float(pitch or 0)
    except ValueError:
        return math.inf, 0.0


def _reason(row: dict[str, Any], restored: str | None) -> str:
    """What went wrong with an image, and that nothing was restored when nothing was."""
    text = row["error_message"] or ""
    if row["error_operator"] and row["status"] not in _PLAIN:
        text = f"{row['error_operator']}: {row['error_type']}: {text}"
    return text if restored else f"No restored image: {text or _PLAIN.get(row['status'], 'no face of it was filled')}"


def _cards(storage: Storage, row: dict[str, Any], embed: bool) -> Iterator[tuple[str, str]]:
    """Status and HTML of each card of an image."""
    files = _Files(storage, row, embed)
    if any(name.startswith("sample.") for name in files.paths):
        yield _status(row, None), _sample_card(files, row)
        return
    for face in row["faces"] or (None,):
        yield _status(row, face), _card(files, row, face)


def render_report(storage: Storage, title: str, facts: dict[str, str], most: int, embed: bool, lead: str = _WARNING) -> str:
    """The whole HTML text. `facts` are shown as chips beside the counts by status; names in it are escaped."""
    rows, counts, n_faces = _sample(manifest_rows(storage), most)
    total = sum(counts.values())
    chips = {"images": f"{total:,}", "faces": f"{n_faces:,}", **{k: f"{v:,}" for k, v in counts.most_common()}, **facts}
    chip_list = "".join(
        f"<li>{html.escape(key.replace('_', ' '))}<b>{html.escape(value)}</b></li>" for key, value in chips.items()
    )
    orders = "".join(f'<option value="{key}">{html.escape(label)}</option>' for key, label in _ORDERS.items())
    with ThreadPoolExecutor(8) as pool:  # embedding waits for the store, picture by picture
        cards = [card for group in pool.map(lambda row: list(_cards(storage, row, embed)), rows) for card in group]
    statuses = "".join(
        f'<option value="{html.escape(s)}">{html.escape(s.replace("_", " "))}</option>' for s in sorted({s for s, _ in cards})
    )
    shown = "" if len(rows) == total else f" A sample of {len(rows):,} of {total:,} images is shown, spread over all statuses."
    where = html.escape(storage.locate(""))
    hint = f" Links lead to files beside this page: it belongs into a copy of <code>{where}</code>." if embed else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{(_TEMPLATES / "report.css").read_text()}</style></head><body>
<header><h1>{html.escape(title)}</h1>
<p class="lead">{html.escape(lead)}{shown}{hint}</p><ul class="chips">{chip_list}</ul></header>
<nav><label>sort by <select id="sort">{orders}</select></label>
<label>status <select id="status"><option value="">all</option>{statuses}</select></label>
<label>name <input id="find" type="search" placeholder="part of a name"></label><span><b id="shown"></b> shown</span></nav>
<main>{"".join(card for _, card in cards)}</main><p id="none" hidden>Nothing fits the filter.</p>
<script>{(_TEMPLATES / "report.js").read_text()}</script></body></html>
"""


def write_report(
    storage: Storage,
    title: str = "",
    facts: dict[str, str] | None = None,
    most: int = 500,
    embed: bool = False,
) -> str:
    """Write `report.html` into a run's output and return its key; an empty title is that of the run's job."""
    job = json.loads(storage.read("run.json")).get("job", "") if storage.exists("run.json") else ""
    own, lead = _ABOUT.get(job, ("Reconstructed faces", _WARNING))
    text = render_report(storage, title or own, facts or {}, most, embed, lead)
    storage.write("report.html", text.encode())
    return "report.html"


def main(arguments: list[str] | None = None) -> int:
    """`python -m jobs.report OUT`: make the contact sheet of a finished or running job anew."""
    parser = argparse.ArgumentParser(prog="python -m jobs.report", description=__doc__)
    parser.add_argument("output", help="output of a run: a folder or s3://bucket/prefix")
    parser.add_argument("--most", type=int, default=500, help="show at most so many images (default 500)")
    parser.add_argument("--embed", action="store_true", help="put the pictures into the file (always so for s3://)")
    parser.add_argument("--endpoint", default=None, help="S3-compatible endpoint, e.g. http://127.0.0.1:7480")
    options = parser.parse_args(arguments)
    from jobs.storage import StorageConfig

    storage = open_storage(options.output, StorageConfig(endpoint=options.endpoint))
    facts = {}
    if storage.exists("run.json"):
        summary = json.loads(storage.read("run.json")).get("summary", {})
        facts = {label: str(summary[key]) for key, label in _SUMMARY.items() if key in summary}
    embed = options.embed or options.output.startswith("s3://")
    print(write_report(storage, facts=facts, most=options.most, embed=embed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
