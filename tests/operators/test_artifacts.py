from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from operators.artifacts import ArtifactEncoder, ArtifactEncoderConfig, sheet, shrink, tint
from operators.batch import Batch
from operators.images import decode_rgb, encode
from operators.morphable.export import rename_material
from operators.provenance import read_provenance
from operators.types import FAILED
from tests.operators.inpaint.faces import batch_of, drawn

OBJ = b"mtllib mesh.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nusemtl face\nf 1/1 2/1 3/1\n"
PLY = b"ply\nformat binary_little_endian 1.0\ncomment TextureFile mesh.png\nend_header\n"
EVERYTHING = ArtifactEncoderConfig(
    crop=True, occluder=True, visible_face=True, hole=True, edges=True, inpainted=True, render=True
)


def full_batch() -> Batch:
    face = drawn(64)
    batch = batch_of(face, images=[encode(np.full((300, 600, 3), 90, np.uint8))])
    batch.rows["restored_bytes"] = [encode(np.full((300, 600, 3), 120, np.uint8))]
    batch.put("edge_map", face["hole"][None])
    batch.put("inpainted", face["truth"][None])
    batch.put("overlay", face["render"][None])
    batch.put("views", np.stack([face["render"]] * 3)[None])
    batch.put("view_angles_deg", np.array([[[-60, 0], [0, 0], [22.5, -10]]]))
    batch.put("mesh_obj", [OBJ])
    batch.put("mesh_ply", [PLY])
    batch.put("mesh_glb", [b"glTF"])
    batch.put("mesh_texture", face["render"][None])
    return batch


def test_every_file_is_there_and_opens():
    files = ArtifactEncoder(EVERYTHING)(full_batch()).rows["artifact_bytes"][0]
    names = (
        "crop.png occluder.png visible_face.png hole.png edges.png inpainted.png overlay.jpg render.png view_-60.jpg view_0.jpg"
    )
    names += " view_22.5_-10.jpg mesh.obj mesh.mtl mesh.png mesh.ply mesh.glb sheet.jpg"
    assert set(files) == {f"face0_{name}" for name in names.split()} | {"thumb_before.jpg", "thumb_after.jpg"}
    for name, data in files.items():
        if not name.endswith((".obj", ".mtl", ".ply", ".glb")):
            Image.open(io.BytesIO(data)).load()
    assert decode_rgb(files["thumb_after.jpg"]).shape == (128, 256, 3)
    assert np.array_equal(decode_rgb(files["face0_hole.png"])[..., 0] > 0, drawn(64)["hole"])
    assert files["face0_mesh.obj"] == rename_material(OBJ, "face0_mesh.mtl")
    assert b"face0_mesh.png" in files["face0_mesh.mtl"] and b" face0_mesh.png\n" in files["face0_mesh.ply"]


def test_switched_off_files_are_not_there():
    off = ArtifactEncoderConfig(overlay=False, views=False, mesh=False, sheet=False, thumbnails=False)
    assert ArtifactEncoder(off)(full_batch()).rows["artifact_bytes"] == [{}]


def test_generated_files_are_marked_and_the_photo_is_not():
    files = ArtifactEncoder(EVERYTHING)(full_batch()).rows["artifact_bytes"][0]
    assert read_provenance(files["face0_overlay.jpg"]) and read_provenance(files["face0_render.png"])
    assert not read_provenance(files["face0_crop.png"]) and not read_provenance(files["thumb_before.jpg"])


def test_same_batch_same_bytes():
    first, again = (ArtifactEncoder(EVERYTHING)(full_batch()).rows["artifact_bytes"] for _ in range(2))
    assert first == again


def test_face_that_stopped_early_gets_fewer_files_and_failed_row_none():
    batch = full_batch()
    for name in ("render", "overlay", "views", "mesh_obj", "inpainted"):
        del batch.faces[name]
    files = ArtifactEncoder(EVERYTHING)(batch).rows["artifact_bytes"][0]
    assert "face0_sheet.jpg" in files and "face0_render.png" not in files and "face0_mesh.obj" not in files
    batch.mark_row(0, FAILED)
    assert ArtifactEncoder(EVERYTHING)(batch).rows["artifact_bytes"] == [None]


def test_texture_file_only_where_a_mesh_names_it():
    batch = full_batch()
    for name in ("mesh_obj", "mesh_ply"):
        del batch.faces[name]
    files = ArtifactEncoder(EVERYTHING)(batch).rows["artifact_bytes"][0]
    assert "face0_mesh.glb" in files and "face0_mesh.png" not in files


def test_sheet_has_five_panels_in_order():
    face = drawn(64) | {"inpainted": drawn(64)["truth"]}
    panels = np.split(sheet(face), 5, axis=1)
    assert np.array_equal(panels[0], face["crop"]) and np.array_equal(panels[4], face["truth"])
    assert (panels[3][face["hole"]] == 255).all()
    assert np.array_equal(panels[2][~face["render_mask"]], face["crop"][~face["render_mask"]])


@pytest.mark.parametrize(("shape", "expected"), [((10, 20), (10, 20)), ((500, 1000), (128, 256)), ((2000, 3), (256, 1))])
def test_shrink(shape, expected):
    assert shrink(np.zeros((*shape, 3), np.uint8), 256).shape[:2] == expected


def test_tint_leaves_the_rest():
    image = np.full((4, 4, 3), 100, np.uint8)
    mask = np.eye(4, dtype=bool)
    result = tint(image, mask, (200, 0, 50))
    assert tuple(result[0, 0]) == (150, 50, 75) and (result[~mask] == 100).all()
