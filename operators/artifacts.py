"""Encode what a run keeps beside the restored photos: crops, masks, renders, views, meshes, side-by-side sheets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from operators.batch import Batch
from operators.faces.geometry import to_integer_centres
from operators.images import ImageError, decode_rgb, encode
from operators.morphable.export import mtl, rename_material
from operators.morphable.ply import rename_texture
from operators.provenance import xmp_packet
from operators.types import FAILED, OperatorConfig, OperatorInfo, option

OCCLUDER_TINT = (230, 30, 140)


@dataclass(frozen=True)
class ArtifactEncoderConfig(OperatorConfig):
    """Which files a face (`face0_…`, 0 = most confident) and a photo (`thumb_…`) get."""

    crop: bool = option(False, "face0_crop.png: the aligned crop")
    occluder: bool = option(False, "face0_occluder.png: white = mask or other occluder")
    visible_face: bool = option(False, "face0_visible_face.png: white = visible skin")
    hole: bool = option(False, "face0_hole.png: white = filled")
    occluders: bool = option(False, "occluder.png: the occluders of all faces, in the photo's own pixels; evaluate compares it")
    edges: bool = option(False, "face0_edges.png: edge map")
    inpainted: bool = option(False, "face0_inpainted.png: the crop with its hole filled")
    overlay: bool = option(True, "face0_overlay.jpg: the rendered face over the crop")
    render: bool = option(False, "face0_render.png: the rendered face alone")
    views: bool = option(True, "face0_view_-60.jpg …: turned views, named by yaw, and by pitch where it is not 0 (…_-60_15.jpg)")
    mesh: bool = option(
        True,
        "face0_mesh.obj, .ply, .glb: the mesh in the renderer's mesh_formats; face0_mesh.png is the texture of .obj and .ply",
    )
    sheet: bool = option(True, "face0_sheet.jpg: before, occluder, render, hole and after, side by side")
    thumbnails: bool = option(True, "thumb_before.jpg and thumb_after.jpg: the whole photo, for the report")
    thumbnail_px: int = option(256, "longest side of the thumbnails")
    quality: int = option(90, "quality of the JPEG files, 1 to 100")


class ArtifactEncoder:
    """Fills `artifact_bytes` (file name -> bytes) of every row that did not fail; same row, same bytes.

    A face gets what its columns hold: a face that stopped early gets fewer files.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        "ArtifactEncoder",
        "3",
        (
            *("image_bytes", "width_px", "height_px", "restored_bytes", "crop", "crop_from_image", "occluder", "visible_face"),
            *("hole", "edge_map", "inpainted", "overlay", "render", "render_mask", "views", "view_angles_deg", "mesh_texture"),
            *("mesh_obj", "mesh_ply", "mesh_glb"),
        ),
        ("artifact_bytes",),
    )

    def __init__(
        self, config: ArtifactEncoderConfig = ArtifactEncoderConfig(), assets: object | None = None, device: str = "cpu"
    ):
        self.config = config
        self._generated = xmp_packet("compositeWithTrainedAlgorithmicMedia")

    def __call__(self, batch: Batch) -> Batch:
        batch.rows["artifact_bytes"] = [
            None if status == FAILED else self._row(batch, i) for i, status in enumerate(batch.rows["status"])
        ]
        return batch

    def _row(self, batch: Batch, i: int) -> dict[str, bytes]:
        files = self._thumbnails(batch, i) if self.config.thumbnails else {}
        if self.config.occluders and "occluder" in batch.faces:
            files["occluder.png"] = encode(self._occluders(batch, i))
        for j in np.flatnonzero(batch.face_row == i):
            face = {name: values[j] for name, values in batch.faces.items()}
            prefix = f"face{int(face['face_index'])}"
            files |= {f"{prefix}_{name}": data for name, data in self._face(face, prefix).items()}
        return files

    def _occluders(self, batch: Batch, i: int) -> Bool[np.ndarray, "h w"]:
        """Occluders of all faces of a row that were segmented, in the pixels of its photo."""
        size = (int(batch.rows["width_px"][i]), int(batch.rows["height_px"][i]))
        found = np.zeros(size[::-1], bool)
        for j in np.flatnonzero(batch.face_row == i):
            occluder, to_crop = batch.faces["occluder"][j], batch.faces["crop_from_image"][j]
            if occluder.any() and np.isfinite(to_crop).all():
                flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
                found |= cv2.warpAffine(occluder.astype(np.float32), to_integer_centres(to_crop), size, flags=flags) >= 0.5
        return found

    def _thumbnails(self, batch: Batch, i: int) -> dict[str, bytes]:
        try:
            before = batch.frame(i)
        except ImageError:
            return {}
        files = {"thumb_before.jpg": self._jpeg(shrink(before, self.config.thumbnail_px), generated=False)}
        restored = batch.rows["restored_bytes"][i]
        if restored:
            files["thumb_after.jpg"] = self._jpeg(shrink(decode_rgb(restored), self.config.thumbnail_px))
        return files

    def _face(self, face: dict[str, Any], prefix: str) -> dict[str, bytes]:
        config, files = self.config, {}

        def add(wanted: bool, column: str, name: str, write: Callable[[np.ndarray], bytes]) -> None:
            value = face.get(column)
            if wanted and value is not None and np.any(value):
                files[name] = write(value)

        add(config.crop, "crop", "crop.png", encode)
        add(config.occluder, "occluder", "occluder.png", encode)
        add(config.visible_face, "visible_face", "visible_face.png", encode)
        add(config.hole, "hole", "hole.png", encode)
        add(config.edges, "edge_map", "edges.png", encode)
        add(config.inpainted, "inpainted", "inpainted.png", self._png)
        add(config.overlay, "overlay", "overlay.jpg", self._jpeg)
        add(config.render, "render", "render.png", self._png)
        views = face.get("views")
        if config.views and views is not None and np.any(views):
            for (yaw, pitch), view in zip(face["view_angles_deg"].tolist(), views, strict=True):
                files[f"view_{yaw:g}_{pitch:g}.jpg" if pitch else f"view_{yaw:g}.jpg"] = self._jpeg(view)
        if config.mesh:
            files |= self._mesh(face, f"{prefix}_mesh")
        if config.sheet and np.any(face.get("crop", False)):
            files["sheet.jpg"] = self._jpeg(sheet(face))
        return files

    def _mesh(self, face: dict[str, Any], name: str) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        if face.get("mesh_obj"):
            files |= {"mesh.obj": rename_material(face["mesh_obj"], f"{name}.mtl"), "mesh.mtl": mtl(f"{name}.png")}
        if face.get("mesh_ply"):
            files["mesh.ply"] = rename_texture(face["mesh_ply"], f"{name}.png")
        if files:
            files["mesh.png"] = self._png(face["mesh_texture"])
        if face.get("mesh_glb"):
            files["mesh.glb"] = face["mesh_glb"]
        return files

    def _jpeg(self, image: np.ndarray, generated: bool = True) -> bytes:
        return encode(image, "JPEG", quality=self.config.quality, xmp=self._generated if generated else None)

    def _png(self, image: np.ndarray) -> bytes:
        return encode(image, "PNG", xmp=self._generated)


def shrink(image: UInt8[np.ndarray, "h w 3"], longest_px: int) -> UInt8[np.ndarray, "small_h small_w 3"]:
    """The picture with its longest side at most `longest_px`."""
    h, w = image.shape[:2]
    scale = longest_px / max(h, w)
    if scale >= 1:
        return image
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def tint(
    image: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], colour: tuple[int, int, int] = OCCLUDER_TINT
) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with a mask laid over it in half-transparent colour."""
    mixed = (image.astype(np.uint16) + np.array(colour, np.uint16) + 1) // 2
    return np.where(mask[..., None], mixed.astype(np.uint8), image)


def sheet(face: dict[str, Any]) -> UInt8[np.ndarray, "h w 3"]:
    """Before | occluder tinted | render over the crop | hole | after; a step that did not happen shows the crop in grey."""
    crop = face["crop"]
    missing = np.repeat(crop.mean(axis=2, keepdims=True) * 0.5 + 64, 3, axis=2).astype(np.uint8)
    after = [missing] * 4
    if np.any(face.get("occluder", False)):
        after[0] = tint(crop, face["occluder"])
    if np.any(face.get("render", False)):
        after[1] = np.where(face["render_mask"][..., None], face["render"], crop)
    if np.any(face.get("hole", False)):
        after[2] = np.where(face["hole"][..., None], np.uint8(255), crop)
    if np.any(face.get("inpainted", False)):
        after[3] = face["inpainted"]
    return np.concatenate([crop, *after], axis=1)
