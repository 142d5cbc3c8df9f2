"""Manifests of evaluations that never took place, with plausible numbers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.storage import Storage
from operators.arrow import manifest_bytes
from operators.images import encode

SKILL = {"prior": 20.0, "telea": 16.0, "mean_face": 18.0}
LINKS = pa.list_(pa.struct([("name", pa.string()), ("path", pa.string()), ("sha256", pa.string()), ("bytes", pa.int64())]))


def rows(
    count: int = 60, people: int = 12, methods: Sequence[str] = ("prior", "telea"), seed: int = 0, shift: float = 0.0
) -> list[dict[str, Any]]:
    """Rows of every method and of the truth. PSNR falls with coverage; some people are easier than others."""
    random = np.random.default_rng(seed)
    ease, who = random.normal(0, 1.5, people), random.integers(0, people, count)
    coverage, yaw = random.uniform(0.12, 0.55, count), random.normal(0, 20, count)
    noise = {name: random.normal(0, 0.7, count) for name in SKILL}
    out: list[dict[str, Any]] = []
    for method in (*methods, "truth"):
        for i in range(count):
            face = {"type": ("surgical", "n95", "cloth")[i % 3], "rotation_deg": [0.0, yaw[i], 0.0], "coverage": coverage[i]}
            row: dict[str, Any] = {
                "method": method,
                "key": f"photo{i:03d}",
                "image_id": f"{method}/images-000000/photo{i:03d}",
                "status": "ok",
                "error_operator": "",
                "error_type": "",
                "error_message": "",
                "source": f"photo{i:03d}.jpg",
                "subject": f"person{who[i]:02d}",
                "group": ("london", "congress")[i % 2],
                "meta_json": json.dumps({"coverage": coverage[i], "faces": [face]}),
                "truth_sha256": hashlib.sha256(b"truth %d" % i).hexdigest(),
                "mask_sha256": hashlib.sha256(b"mask %d" % i).hexdigest(),
                "artifacts": [],
                "hole_pixels": 1000 + i,
                "rim_pixels": 500,
            }
            level = np.inf if method == "truth" else SKILL[method] + ease[who[i]] - 10 * coverage[i] + noise[method][i]
            for region, more in (("hole", 0.0), ("rim", 9.0), ("image", 7.0)):
                decibel = level + more + shift
                row[f"psnr_{region}_db"] = float(decibel)
                row[f"ssim_{region}"] = float(1 / (1 + np.exp((16 - decibel) / 6)))
                row[f"l1_{region}"] = float(0.7 * 10 ** (-decibel / 20))
                row[f"lpips_{region}"] = float("nan")
            out.append(row)
    return out


def only_psnr(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows without other metrics: fewer plots to draw."""
    return [{name: value for name, value in row.items() if not name.startswith(("ssim", "l1"))} for row in found]


def table(found: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows -> a manifest; a column that some rows lack is null there."""
    names = list(dict.fromkeys(name for row in found for name in row))
    made = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in found])
    at = made.schema.get_field_index("artifacts")
    return made if at < 0 else made.set_column(at, "artifacts", pa.array([row["artifacts"] for row in found], LINKS))


def write(storage: Storage, found: Sequence[dict[str, Any]], pictures: bool = False) -> None:
    """The manifest of an evaluation, a part per method, and small pictures in one colour per method."""
    for method in dict.fromkeys(row["method"] for row in found):
        mine = [dict(row) for row in found if row["method"] == method]
        for row in mine if pictures else ():
            names = ("masked", "truth") if method == "truth" else ("result",)
            row["artifacts"] = [_keep(storage, f"artifacts/{row['image_id']}/{name}.jpg", method + name) for name in names]
        storage.write(f"manifest/{method}/images-000000/00000.parquet", manifest_bytes(table(mine)))


def _keep(storage: Storage, path: str, what: str) -> dict[str, Any]:
    colour = np.frombuffer(hashlib.sha256(what.encode()).digest()[:3], np.uint8)
    data = encode(np.broadcast_to(colour, (24, 20, 3)).copy(), "JPEG", quality=85)
    storage.write(path, data, durable=False)
    return {"name": path.rpartition("/")[2], "path": path, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
