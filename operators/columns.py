"""Every column that an operator may read or write: level, dtype, shape, unit and meaning.

Symbolic shape entries (`crop`, `identity`, …) are fixed by configuration or by the face basis; they are equal for all
rows of one run. `manifest=True` columns end up in the Parquet manifest; the others only travel between operators.
"""

from __future__ import annotations

from dataclasses import dataclass

STRING, BYTES, ARTIFACTS = "string", "bytes", "artifacts"


@dataclass(frozen=True)
class Column:
    """One column; `dtype` is a numpy dtype name, or `string`, `bytes`, `artifacts` (name -> bytes).

    `job` names the only job whose manifest has it; empty = every job's.
    """

    name: str
    dtype: str
    doc: str
    shape: tuple[int | str, ...] = ()
    manifest: bool = True
    job: str = ""


RECONSTRUCT, SYNTHESIZE, EVALUATE = "reconstruct", "synthesize", "evaluate"
REGIONS = {"hole": "inside the hole", "rim": "in the 16 px around the hole", "image": "over the whole picture"}


def _evaluation_columns() -> tuple[Column, ...]:
    """What `evaluate` measures of one picture against its truth; NaN where there was nothing to measure."""
    columns = [
        Column("method", STRING, "what made the picture that is measured", job=EVALUATE),
        Column("baseline", STRING, "truth, masked, telea or navier_stokes, made on the spot; else empty", job=EVALUATE),
        Column("truth_sha256", STRING, "of the encoded truth; empty when there is none", job=EVALUATE),
        Column("mask_sha256", STRING, "of the encoded hole; empty when there is none", job=EVALUATE),
        Column("input_bytes", BYTES, "encoded picture with the mask, as it went in", manifest=False, job=EVALUATE),
    ]  # fmt: skip
    columns += [Column("hole_pixels", "int64", "pixels inside the hole", job=EVALUATE)]
    columns += [Column("rim_pixels", "int64", "pixels in the 16 px around the hole", job=EVALUATE)]
    for region, where in REGIONS.items():
        columns += [
            Column(f"psnr_{region}_db", "float64", f"peak signal-to-noise ratio {where}, dB", job=EVALUATE),
            Column(f"ssim_{region}", "float64", f"structural similarity {where}", job=EVALUATE),
            Column(f"l1_{region}", "float64", f"mean absolute difference {where}, of 1", job=EVALUATE),
            Column(f"lpips_{region}", "float64", f"LPIPS distance {where}", job=EVALUATE),
        ]
    columns += [
        Column("segmentation_iou", "float64", "intersection over union of the occluder found and the true one", job=EVALUATE),
        Column("boundary_f", "float64", "boundary F score of the occluder found against the true one", job=EVALUATE),
        Column("inception_features", "float32", "pool3 features of the picture", ("features",), job=EVALUATE),
        Column("identity_embedding", "float32", "embedding of the first face for recognition", ("embedding",), job=EVALUATE),
        Column("result_landmarks68_px", "float32", "iBUG-68 of the first face", (68, 2), job=EVALUATE),
        Column("landmarks68_in_hole", "bool", "which of them lie inside the hole", (68,), job=EVALUATE),
    ]  # fmt: skip
    return tuple(columns)


def _table(*columns: Column) -> dict[str, Column]:
    return {column.name: column for column in columns}


ROW_COLUMNS = _table(
    Column("image_id", STRING, "shard/key: unique in a run, and the root of every output name"),
    Column("shard", STRING, "name of the input shard"),
    Column("key", STRING, "name of the image inside its shard; repeated names get ~2, ~3, …"),
    Column("row", "int32", "position of the image in its shard"),
    Column("source", STRING, "where the image was read from, for people"),
    Column("subject", STRING, "who is shown, when the input says so; empty otherwise"),
    Column("group", STRING, "to which group of pictures it belongs, when the input says so; empty otherwise"),
    Column("meta_json", STRING, "the sample's own JSON, untouched; empty when there is none"),
    Column("image_bytes", BYTES, "encoded input", manifest=False),
    Column("given_mask_bytes", BYTES, "encoded mask that came with the sample, white = occluder", manifest=False),
    Column("image_sha256", STRING, "of the encoded input"),
    Column("format", STRING, "container format found by its content: JPEG, PNG, WEBP"),
    Column("width_px", "int32", "after EXIF orientation; 0 when unreadable"),
    Column("height_px", "int32", "after EXIF orientation; 0 when unreadable"),
    Column("focal_35mm", "int32", "focal length in 35 mm film equivalents, mm, where EXIF says; 0 = unknown"),
    Column("status", STRING, "ok, no_face, nothing_to_fill, low_confidence, rejected or failed"),
    Column("error_operator", STRING, "operator that recorded the error; empty when none"),
    Column("error_type", STRING, "exception or reason class; empty when none"),
    Column("error_message", STRING, "what was received and what to do; empty when none"),
    Column("restored_bytes", BYTES, "encoded restored image", manifest=False),
    Column("artifact_bytes", ARTIFACTS, "artifact file name -> encoded bytes", manifest=False),
    Column("truth_bytes", BYTES, "encoded picture without the mask, that came with the sample", manifest=False),
    Column("given_alpha_bytes", BYTES, "encoded opacity of the occluder, 0-255, that came with the sample", manifest=False),
    Column("result_mask_bytes", BYTES, "encoded occluder that a run found, white = occluder", manifest=False),
    Column("sample_bytes", ARTIFACTS, "file name suffix -> encoded bytes of a training sample", manifest=False),
    Column("hole_fraction", "float32", "share of the picture's pixels that synthesis changed", job=SYNTHESIZE),
    *_evaluation_columns(),
)

FACE_COLUMNS = _table(
    Column("face_index", "int32", "0 is the most confident face of its image"),
    Column("face_status", STRING, "like status, for one face"),
    Column("face_message", STRING, "why the status is not ok"),
    Column("box_xyxy_px", "float32", "detected face box", (4,)),
    Column("detection_score", "float32", "detector's confidence in [0, 1]"),
    Column("detection_keypoints_px", "float32", "viewer's left eye, right eye, nose, mouth, left ear, right ear", (6, 2), False),
    Column("landmarks468_px", "float32", "face mesh x, y, z in full-image pixels", (468, 3)),
    Column("landmarks68_px", "float32", "iBUG-68 derived from the mesh", (68, 2)),
    Column("mesh_score", "float32", "face-mesh presence probability in [0, 1]"),
    Column("crop_from_image", "float32", "similarity from full-image to crop pixels", (2, 3)),
    Column("crop", "uint8", "aligned crop, RGB", ("crop", "crop", 3), False),
    Column("crop_valid", "bool", "crop pixels that lie inside the photo", ("crop", "crop"), False),
    Column("occluder", "bool", "mask or other occluder in the crop", ("crop", "crop"), False),
    Column("occluder_iou", "float32", "predicted IoU of the occluder mask"),
    Column("occluder_stability", "float32", "stability score of the occluder mask"),
    Column("visible_face", "bool", "visible skin of the face in the crop", ("crop", "crop"), False),
    Column("visible_face_iou", "float32", "predicted IoU of the visible-face mask"),
    Column("visible_face_stability", "float32", "stability score of the visible-face mask"),
    Column("identity", "float32", "identity coefficients in standard deviations", ("identity",)),
    Column("expression", "float32", "expression coefficients in standard deviations", ("expression",)),
    Column("albedo", "float32", "albedo coefficients in standard deviations", ("albedo",)),
    Column("light", "float32", "spherical-harmonics light, 9 bands x RGB", (9, 3)),
    Column("rotation_deg", "float32", "pitch, yaw, roll", (3,)),
    Column("translation", "float32", "face to camera, in the basis's unit", (3,)),
    Column("focal_px", "float32", "focal length in crop pixels"),
    Column("fit_rmse_px", "float32", "weighted landmark residual in crop pixels"),
    Column("hidden_fraction", "float32", "share of landmarks that the occluder hides"),
    Column("lower_face_std", "float32", "standard deviation of the lower face's landmarks in the fit, in outer eye distances"),
    Column("lower_face_guess", "float32", "share of the lower face's shape that the landmarks leave to the prior, 0..1"),
    Column("render", "uint8", "completed face rendered in place, RGB", ("crop", "crop", 3), False),
    Column("render_mask", "bool", "pixels that the rendered face covers", ("crop", "crop"), False),
    Column("overlay", "uint8", "render over the crop", ("crop", "crop", 3), False),
    Column("edge_votes", "uint8", "share of the turned views with an edge at this point, of 255", ("crop", "crop"), False),
    Column("views", "uint8", "turned views, RGB", ("views", "crop", "crop", 3), False),
    Column("view_angles_deg", "float32", "yaw and pitch of each view", ("views", 2), False),
    Column("mesh_texture", "uint8", "texture of the mesh, RGB", ("texture", "texture", 3), False),
    Column("mesh_obj", BYTES, "Wavefront .obj of the fitted mesh", manifest=False),
    Column("mesh_ply", BYTES, "binary .ply of the fitted mesh", manifest=False),
    Column("mesh_glb", BYTES, "glTF 2.0 binary of the fitted mesh, with its texture", manifest=False),
    Column("hole", "bool", "pixels of the crop to fill", ("crop", "crop"), False),
    Column("edge_map", "bool", "edges: of the render inside the hole, of the photo outside", ("crop", "crop"), False),
    Column("mask_coverage", "float32", "share of the projected face that the occluder covers"),
    Column("inpainted", "uint8", "crop with the hole filled, RGB", ("crop", "crop", 3), False),
    Column("mask_type", STRING, "what was put on the face: surgical, n95, scarf, …; empty = nothing", job=SYNTHESIZE),
    Column("mask_colour", STRING, "its colour as #rrggbb; empty = its own", job=SYNTHESIZE),
    Column("mask_texture", STRING, "its print; empty = none", job=SYNTHESIZE),
    Column("mask_seed", "int64", "seed of everything random about it", job=SYNTHESIZE),
    Column("mask_points_px", "float32", "left, bridge, right on top; right, chin, left below", (6, 2), job=SYNTHESIZE),
    Column("mask_angle_deg", "float32", "turn of the face by those points", job=SYNTHESIZE),
)  # fmt: skip


def face_column(name: str) -> Column:
    """The face column of that name; KeyError names what was asked."""
    if name not in FACE_COLUMNS:
        raise KeyError(f"unknown face column {name!r}: declare it in operators/columns.py")
    return FACE_COLUMNS[name]
