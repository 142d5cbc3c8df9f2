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
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.storage import Storage, open_storage

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
_COLUMNS = ["image_id", "source", "status", "error_operator", "error_type", "error_message", "faces", "artifacts"]
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


def _picture(storage: Storage, path: str | None, embed: bool) -> str:
    if path is None:
        return ""
    if not embed:
        return "/".join(quote(part) for part in path.split("/"))
    kind = "png" if path.endswith(".png") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(storage.read(path)).decode()}"


def _number(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.2f}"


def _card(row: dict[str, Any], face: dict[str, Any] | None, picture: str, strip: bool, after: str) -> str:
    name = html.escape(row["image_id"] + (f" · face {face['face_index']}" if face else ""))
    status = row["status"] if face is None or row["status"] != "ok" else face["face_status"]
    message = (face or {}).get("face_message") or row["error_message"] or ""
    if row["error_operator"]:
        message = f"{row['error_operator']}: {row['error_type']}: {row['error_message']}"
    values = {key: (face or {}).get(key) for key in _SCORES}
    data = "".join(f' data-{key}="{_number(value)}"' for key, value in values.items())
    link = f'<a href="{html.escape(after)}">restored image</a>' if after else ""
    image = f'<img loading="lazy" src="{html.escape(picture)}" alt="{name}"' + ("" if strip else ' class="alone"') + ">"
    heads = "".join(f"<span>{title}</span>" for title in ("before", "occluder", "render", "hole", "after"))
    facts = " ".join(f"<span>{label} {_number(values[key])}</span>" for key, label in _SCORES.items()) if face else ""
    label = html.escape(status)
    note = f'<span class="message">{html.escape(message)}</span>' if message else ""
    return (
        f'<article data-name="{name}" data-status="{label}"{data}>'
        + (f'<div class="heads">{heads}</div>' if strip else "")
        + (image if picture else "")
        + f'<div class="facts"><span class="name">{name}</span><span class="status {label}">{label}</span>{facts} {link}{note}'
        + "</div></article>"
    )


def _cards(storage: Storage, row: dict[str, Any], embed: bool) -> Iterator[str]:
    artifacts = {item["name"]: item["path"] for item in row["artifacts"] or ()}
    restored = next((path for name, path in artifacts.items() if name.startswith("restored")), None)
    after = "" if restored is None or embed else _picture(storage, restored, False)
    for face in row["faces"] or ():
        sheet = artifacts.get(f"face{face['face_index']}_sheet.jpg")
        picture = _picture(storage, sheet or artifacts.get("thumb_before.jpg"), embed)
        yield _card(row, face, picture, sheet is not None, after)
    if not row["faces"]:
        yield _card(row, None, _picture(storage, artifacts.get("thumb_before.jpg"), embed), False, after)


def render_report(storage: Storage, title: str, facts: dict[str, str], most: int, embed: bool) -> str:
    """The whole HTML text. `facts` are shown as chips beside the counts by status; names in it are escaped."""
    rows, counts, n_faces = _sample(manifest_rows(storage), most)
    total = sum(counts.values())
    chips = {"images": f"{total:,}", "faces": f"{n_faces:,}", **{k: f"{v:,}" for k, v in counts.most_common()}, **facts}
    chip_list = "".join(f"<li>{html.escape(key)}<b>{html.escape(value)}</b></li>" for key, value in chips.items())
    orders = "".join(f'<option value="{key}">{html.escape(label)}</option>' for key, label in _ORDERS.items())
    statuses = "".join(f'<option value="{html.escape(s)}">{html.escape(s)}</option>' for s in sorted(counts))
    shown = "" if len(rows) == total else f" A sample of {len(rows):,} of {total:,} images is shown, spread over all statuses."
    cards = "\n".join(card for row in rows for card in _cards(storage, row, embed))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title><style>{(_TEMPLATES / "report.css").read_text()}</style></head><body>
<header><h1>{html.escape(title)}</h1><p class="lead">{_WARNING}{shown}</p><ul class="chips">{chip_list}</ul></header>
<nav><label>sort by <select id="sort">{orders}</select></label>
<label>status <select id="status"><option value="">all</option>{statuses}</select></label>
<label>name <input id="find" type="search" placeholder="part of a name"></label><span><b id="shown"></b> shown</span></nav>
<main>{cards}</main><script>{(_TEMPLATES / "report.js").read_text()}</script></body></html>
"""


def write_report(
    storage: Storage,
    title: str = "Reconstructed faces",
    facts: dict[str, str] | None = None,
    most: int = 500,
    embed: bool = False,
) -> str:
    """Write `report.html` into a run's output and return its key."""
    text = render_report(storage, title, facts or {}, most, embed)
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
        facts = {key: str(value) for key, value in summary.items() if isinstance(value, str | int | float)}
    embed = options.embed or options.output.startswith("s3://")
    print(write_report(storage, facts=facts, most=options.most, embed=embed))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
