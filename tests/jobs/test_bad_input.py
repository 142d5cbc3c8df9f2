"""One folder with everything that can be wrong beside what is right, through the real operators."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.config import load
from jobs.job_configs import ReconstructConfig
from jobs.run import execute, prepare
from operators.morphable.bases import load_basis
from operators.portrait import PortraitMaker
from tests.masked_people import masked

COLUMNS, ROWS, TILE_PX = 4, 3, 320
HOSTILE = (
    b"<img src=x onerror=alert(1)>.png",
    b"' OR 1=1 --.png",
    b"%2e%2e%2fescape.png",
    b"CON.png",
    b"-rf $(touch x) `x`.png",
    b"two\nlines.png",
    b"not utf-8 \xff\xfe.png",
    "пример 例 ü.png".encode(),
    b"r" * 240 + b".png",
)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, kind, **options)
    return sink.getvalue()


def scenery(seed: int = 0) -> np.ndarray:
    """A picture without a face."""
    ys, xs = np.mgrid[:96, :128]
    return np.stack([(xs * 2 + seed) % 256, (ys * 2) % 256, (xs + ys) % 256], -1).astype(np.uint8)


def huge_png(side: int) -> bytes:
    """A PNG that says it is `side` x `side` pixels, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(64))) + chunk(b"IEND", b"")


def animated_webp() -> bytes:
    frames = [Image.fromarray(scenery(seed)) for seed in (0, 90)]
    sink = io.BytesIO()
    frames[0].save(sink, "WEBP", save_all=True, append_images=frames[1:], duration=100)
    return sink.getvalue()


def twelve_faces() -> np.ndarray:
    """Portraits of people who do not exist, masked, tiled into one picture."""
    maker = PortraitMaker(load_basis("open_face"), size=TILE_PX, texture_px=128)
    tiles = [masked(maker(seed), seed).image for seed in range(COLUMNS * ROWS)]
    rows = [np.concatenate(tiles[r * COLUMNS : (r + 1) * COLUMNS], axis=1) for r in range(ROWS)]
    return np.concatenate(rows, axis=0)


@pytest.fixture(scope="module")
def group() -> np.ndarray:
    return twelve_faces()


@pytest.fixture(scope="module")
def job(group, tmp_path_factory) -> tuple[Path, dict[str, dict]]:
    """The output folder, and the manifest rows by the name of their input file (as the manifest writes it)."""
    root = tmp_path_factory.mktemp("zoo")
    photos, out = root / "in", root / "out"
    photos.mkdir()
    jpeg = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG")
    files = {
        b"corrupt.jpg": jpeg[:20] + bytes(200),
        b"truncated.jpg": jpeg[: len(jpeg) // 2],
        b"empty.png": b"",
        b"text.png": b"this is no picture",
        b"huge.png": huge_png(30_000),
        b"animated.webp": animated_webp(),
        b"tiny.png": encoded(scenery()[:8, :8]),
        b"no_face.png": encoded(scenery()),
        b"twelve.png": encoded(group),
        b"same.jpg": encoded(scenery(1), "JPEG"),
        b"same.png": encoded(scenery(2)),
        **{name: encoded(scenery(i)) for i, name in enumerate(HOSTILE)},
    }
    for name, data in files.items():
        (Path(os.fsdecode(os.fsencode(photos) + b"/" + name))).write_bytes(data)
    fields = {
        **{"input": str(photos), "output": str(out), "source.unit_rows": "8", "storage.fsync": "false"},
        **{"execution.kind": "inline", "artifacts.hole": "true", "artifacts.mesh": "false", "artifacts.views": "false"},
    }
    tally = execute(prepare(load(ReconstructConfig, None, list(fields.items()))))
    rows = [row for path in sorted((out / "manifest").rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert tally.images == len(files) == len(rows)
    by_name = {row["source"].rpartition("/")[2]: row for row in rows}
    assert len(by_name) == len(files), "one row for every file"
    return out, by_name


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("corrupt.jpg", "failed", "CorruptImageError"),
        ("truncated.jpg", "failed", "CorruptImageError"),
        ("empty.png", "failed", "EmptyImageError"),
        ("text.png", "failed", "CorruptImageError"),
        ("huge.png", "rejected", "ImageTooLargeError"),
        ("animated.webp", "rejected", "AnimatedImageError"),
        ("tiny.png", "rejected", "RejectedImageError"),
        ("no_face.png", "no_face", "NoFace"),
        ("same.jpg", "no_face", "NoFace"),
        ("same.png", "no_face", "NoFace"),
        ("twelve.png", "ok", ""),
    ],
)
def test_each_file_costs_its_own_row_only(job, name, status, error):
    row = job[1][name]
    assert (row["status"], row["error_type"]) == (status, error), row["error_message"]
    assert bool(row["error_message"]) == (status != "ok")


def test_names_of_one_stem_and_hostile_names_stay_apart_and_inside(job):
    out, rows = job
    keys = [row["key"] for row in rows.values()]
    assert len({key.casefold() for key in keys}) == len(keys)
    assert rows["same.jpg"]["key"] != rows["same.png"]["key"]
    hostile = [
        row for name, row in rows.items() if row["status"] == "no_face" and name not in ("no_face.png", "same.jpg", "same.png")
    ]
    assert len(hostile) == len(HOSTILE)
    there = {path.relative_to(out).as_posix() for folder in ("images", "artifacts") for path in (out / folder).rglob("*.*")}
    assert there == {item["path"] for row in rows.values() for item in row["artifacts"]}
    for path in there:
        assert (out / path).resolve().is_relative_to(out.resolve())
        assert not set(path) & set("<>:\"|?*\\\n'`$")


def test_every_one_of_twelve_faces_is_restored_in_one_picture(job, group):
    out, rows = job
    row = rows["twelve.png"]
    assert [face["face_status"] for face in row["faces"]] == ["ok"] * 12
    restored = next(item["path"] for item in row["artifacts"] if item["name"] == "restored.png")
    after = np.asarray(Image.open(out / restored).convert("RGB"))
    assert after.shape == group.shape
    changed = (after != group).any(-1)
    ys, xs = np.mgrid[: group.shape[0], : group.shape[1]]
    centres = np.stack([xs + 0.5, ys + 0.5], -1)
    holes = np.zeros(changed.shape, bool)
    tiles = set()
    for face in row["faces"]:
        path = next(item["path"] for item in row["artifacts"] if item["name"] == f"face{face['face_index']}_hole.png")
        hole = np.asarray(Image.open(out / path)) > 0
        to_crop = np.array(face["crop_from_image"])
        # bilinear sampling: a photo pixel may belong to the hole when one of the four crop pixels around it does
        low = np.floor(centres @ to_crop[:, :2].T + to_crop[:, 2] - 0.5).astype(int)
        mine = np.zeros(changed.shape, bool)
        for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
            x, y = low[..., 0] + dx, low[..., 1] + dy
            inside = (x >= 0) & (y >= 0) & (x < hole.shape[1]) & (y < hole.shape[0])
            mine |= inside & hole[y.clip(0, hole.shape[0] - 1), x.clip(0, hole.shape[1] - 1)]
        assert (changed & mine).sum() > 0.8 * mine.sum(), f"face {face['face_index']} is restored in the picture"
        x0, y0, x1, y1 = face["box_xyxy_px"]
        tiles.add((int((x0 + x1) / 2 // TILE_PX), int((y0 + y1) / 2 // TILE_PX)))
        holes |= mine
    assert len(tiles) == 12, "one face in each tile"
    assert not (changed & ~holes).any(), "pixels outside all holes are the input's"
