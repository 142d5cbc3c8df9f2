"""The round trip through Arrow, and the manifest."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.arrow import SCHEMA_VERSION, from_table, manifest_bytes, manifest_schema, to_manifest, to_table
from operators.batch import Batch
from operators.codec import DecodeLimits

# The run-time type checker samples items at random, also inside strategies.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SHAPES = {
    "box_xyxy_px": (4,),
    "landmarks68_px": (68, 2),
    "crop": (3, 3, 3),
    "occluder": (3, 3),
    "expression": (0,),
    "views": (2, 3, 3, 3),
    "occluder_iou": (),
}


@st.composite
def batches(draw):
    n = draw(st.integers(0, 4))
    images = draw(st.lists(st.binary(max_size=6).map(lambda b: b + b"\0\0"), min_size=n, max_size=n))
    keys = draw(st.lists(text, min_size=n, max_size=n))
    batch = Batch.from_images(images, keys, shard="größe")
    batch.rows["artifact_bytes"] = [
        draw(st.none() | st.dictionaries(text, st.binary(max_size=5).map(lambda b: b + b"\0"), max_size=2)) for _ in range(n)
    ]
    batch.rows["given_mask_bytes"] = [draw(st.none() | st.binary(max_size=3)) for _ in range(n)]
    batch.rows["width_px"] = np.arange(n, dtype=np.int32)
    counts = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    if draw(st.booleans()):
        batch.set_faces(np.repeat(np.arange(n), counts))
        seed = draw(st.integers(0, 99))
        for name in draw(st.sets(st.sampled_from(sorted(SHAPES)))):
            shape = (batch.n_faces, *SHAPES[name])
            values = np.sin(np.arange(np.prod(shape)) + seed).reshape(shape) * 300
            batch.put(
                name, values > 0 if name == "occluder" else values.astype(np.uint8) if name in ("crop", "views") else values
            )
        if draw(st.booleans()):
            batch.put("mesh_obj", [draw(st.none() | st.binary(max_size=3)) for _ in range(batch.n_faces)])
    batch.limits = DecodeLimits(max_pixels=draw(st.integers(1, 10**9)))
    return batch


def assert_equal(a: Batch, b: Batch) -> None:
    assert a.limits == b.limits
    assert np.array_equal(a.face_row, b.face_row)
    assert list(a.rows) == list(b.rows) and list(a.faces) == list(b.faces)
    for name in a.rows:
        assert type(a.rows[name]) is type(b.rows[name]), name
        assert list(a.rows[name]) == list(b.rows[name]), name
    for name in a.faces:
        assert a.faces[name].dtype == b.faces[name].dtype and a.faces[name].shape == b.faces[name].shape, name
        if a.faces[name].dtype == object:
            assert a.faces[name].tolist() == b.faces[name].tolist()
        else:
            assert a.faces[name].tobytes() == b.faces[name].tobytes(), name


@settings(max_examples=60, deadline=None)
@given(batches())
def test_round_trip(batch):
    assert_equal(batch, from_table(to_table(batch)))


@settings(max_examples=40, deadline=None)
@given(batches(), st.data())
def test_a_slice_is_the_slice_of_the_batch(batch, data):
    start = data.draw(st.integers(0, len(batch)))
    stop = data.draw(st.integers(start, len(batch)))
    assert_equal(batch.take(range(start, stop)), from_table(to_table(batch).slice(start, stop - start)))


@settings(max_examples=20, deadline=None)
@given(batches())
def test_survives_arrow_ipc(batch):
    sink = io.BytesIO()
    table = to_table(batch)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert_equal(batch, from_table(pa.ipc.open_stream(sink.getvalue()).read_all()))


def two_faces() -> Batch:
    batch = Batch.from_images([b"a", b"b"], ["p", "q"])
    batch.set_faces(np.array([0, 0]))
    batch.put("crop", np.arange(2 * 3 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 3))
    batch.put("landmarks68_px", np.arange(2 * 68 * 2, dtype=np.float32).reshape(2, 68, 2))
    return batch


def test_numbers_are_views_of_the_table():
    batch = two_faces()
    back = from_table(to_table(batch))
    assert np.shares_memory(back.faces["crop"], batch.faces["crop"])
    assert not back.faces["crop"].flags.writeable


def test_a_column_that_one_batch_lacks_is_blank_after_concatenation():
    one, other = two_faces(), two_faces()
    del other.faces["landmarks68_px"]
    table = pa.concat_tables([to_table(one), to_table(other)], promote_options="default")
    back = from_table(table)
    assert back.n_faces == 4
    assert np.array_equal(back.faces["landmarks68_px"][:2], one.faces["landmarks68_px"])
    assert np.isnan(back.faces["landmarks68_px"][2:]).all()


def test_frames_stay_behind():
    batch = two_faces()
    batch._frames[0] = np.zeros((2, 2, 3), np.uint8)
    assert not from_table(to_table(batch))._frames


def test_manifest_has_one_row_per_image_and_its_faces():
    batch = two_faces()
    item = {"name": "crop.png", "path": "artifacts/p/crop.png", "sha256": "00", "bytes": 3}
    table = to_manifest(batch, artifacts=[[item], []], config_fingerprint="f", versions={"b": "2", "a": "1"})
    assert table.schema.equals(manifest_schema(), check_metadata=True)
    rows = table.to_pylist()
    assert [row["key"] for row in rows] == ["p", "q"]
    assert [face["face_index"] for face in rows[0]["faces"]] == [0, 1] and rows[1]["faces"] == []
    assert np.array_equal(rows[0]["faces"][1]["landmarks68_px"], batch.faces["landmarks68_px"][1])
    assert rows[0]["faces"][0]["identity"] is None
    assert rows[0]["artifacts"] == [item] and rows[1]["artifacts"] == []
    assert rows[0]["versions"] == [("a", "1"), ("b", "2")]
    assert "crop" not in rows[0]["faces"][0] and "image_bytes" not in rows[0]


def test_manifest_file_is_deterministic_versioned_and_documented():
    data = manifest_bytes(to_manifest(two_faces()))
    assert data == manifest_bytes(to_manifest(two_faces()))
    table = pq.read_table(io.BytesIO(data))
    assert table.schema.metadata[b"unmask.schema_version"] == SCHEMA_VERSION.encode()
    assert all(field.metadata.get(b"doc") for field in table.schema)


@pytest.mark.parametrize("rows", [0, 1])
def test_manifest_without_faces(rows):
    batch = Batch.from_images([b"x"] * rows)
    table = to_manifest(batch, extra={"seconds": pa.array([1.0] * rows, pa.float64())})
    assert table.num_rows == rows and table.schema.names[-1] == "seconds"
    assert pq.read_table(io.BytesIO(manifest_bytes(table))).num_rows == rows


def test_manifest_refuses_a_column_of_another_length():
    with pytest.raises(ValueError, match="artifacts: 1 values for 2 images"):
        to_manifest(two_faces(), artifacts=[[]])
