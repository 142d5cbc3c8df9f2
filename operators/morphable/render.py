"""Operator: draws the fitted face, completed under the occluder, in place and from other angles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from operators.batch import Batch
from operators.morphable import camera
from operators.morphable.atlas import AlbedoModel, TextureAtlas
from operators.morphable.bases import load_basis
from operators.morphable.draw import Drawing, draw_textured, to_uint8
from operators.morphable.edge_views import edge_votes
from operators.morphable.export import ExportedFace, MeshWriter, ObjWriter
from operators.morphable.glb import GlbWriter
from operators.morphable.light import frontal_light, shade, to_viewer
from operators.morphable.model import MorphableModel
from operators.morphable.ply import PlyWriter
from operators.morphable.texture import complete, model_texture, soft_edge, unwrap, usable_pixels, without_light
from operators.morphable.views import placed, turned
from operators.rasterize import select
from operators.segment.prompts import landmarks_in_crop
from operators.segment.skin import eyes_and_brows
from operators.types import OperatorConfig, OperatorInfo, option


@dataclass(frozen=True)
class FaceRendererConfig(OperatorConfig):
    """Which pictures of the completed face to make."""

    basis: str = option("open_face", "face basis that the coefficients belong to")
    views: bool = option(True, "draw turned views")
    views_deg: tuple[float, ...] = option(
        (-60.0, -30.0, 0.0, 30.0, 60.0), "yaw of each view; positive: nose to the viewer's right"
    )
    views_pitch_deg: tuple[float, ...] = option((0.0,), "pitch of each view, or one for all; positive: nose down")
    edge_views_deg: tuple[float, ...] = option(
        (), "yaws by which the head is turned to look for edges that several views agree on, such as -12 -6 6 12; none: one view"
    )
    edge_views_pitch_deg: tuple[float, ...] = option((0.0,), "pitch of each of them, or one for all")
    edge_sigma_px: float = option(2.0, "Gaussian of their Canny edge maps, at a crop of 256 pixels")
    background: int = option(236, "grey level behind the views, 0..255")
    overlay: bool = option(True, "draw the render over the crop")
    overlay_opacity: float = option(0.9, "opacity of the render in the overlay")
    mesh: bool = option(True, "write the mesh and its texture")
    mesh_formats: tuple[Literal["obj", "ply", "glb"], ...] = option(
        ("obj",), "files of the mesh: obj (with .mtl), ply (binary, coloured vertices), glb (glTF 2.0, texture inside, metres)"
    )
    light: Literal["photo", "frontal", "none"] = option(
        "photo", "light on views and mesh: as in the photo, soft from the front, or none (the albedo alone)"
    )
    texture_px: int = option(256, "side of the texture")
    occluder_margin: float = option(0.02, "band around the occluder where the photo is not used, as a share of the crop size")
    skin_edge: float = option(0.015, "width over which visible skin fades into the model's, as a share of the crop size")
    supersample: int = option(2, "samples per pixel along each axis")
    rasterizer: Literal["auto", "numba", "triton", "pytorch3d"] = option("auto", "rasterizer backend")
    batch_size: int = option(16, "faces drawn together")

    def __post_init__(self) -> None:
        for name in ("views", "edge_views"):
            yaws, pitches = getattr(self, f"{name}_deg"), getattr(self, f"{name}_pitch_deg")
            if len(pitches) not in (1, len(yaws)):
                got = f"{len(pitches)} for {len(yaws)} views"
                raise ValueError(f"{name}_pitch_deg: expected one pitch, or one for each of {name}_deg, got {got}")


WRITERS = {"obj": ObjWriter, "ply": PlyWriter, "glb": GlbWriter}


class FaceRenderer:
    """The photo's own texture where the face is visible, the model's where it is hidden, drawn on the fitted mesh.

    By default the light stays as it falls in the photo: views turn the camera around the face.
    """

    info: ClassVar[OperatorInfo] = OperatorInfo(
        name="FaceRenderer",
        version="2",
        reads=(
            "crop", "crop_valid", "crop_from_image", "landmarks468_px", "occluder", "visible_face", "identity", "expression",
            "albedo", "light", "rotation_deg", "translation", "focal_px",
        ),
        writes=(
            "render", "render_mask", "overlay", "views", "view_angles_deg", "mesh_texture", "mesh_obj", "mesh_ply", "mesh_glb",
            "edge_votes",
        ),
        wants_gpu=True,
    )  # fmt: skip

    def __init__(self, config: FaceRendererConfig = FaceRendererConfig(), assets: Any = None, device: str = "cpu"):
        self.config, self.device = config, torch.device(device)
        basis = load_basis(config.basis)
        self.model = MorphableModel(basis, device)
        self.atlas = TextureAtlas(basis, AlbedoModel(basis, device), config.texture_px, device)
        self.corner_uv = torch.as_tensor(basis.uv[basis.uv_triangles], dtype=torch.float32, device=self.device)
        self.angles = self._angles(config.views_deg, config.views_pitch_deg)
        self.edge_turns = self._angles(config.edge_views_deg, config.edge_views_pitch_deg)
        self.rasterizer = select(config.rasterizer, device)
        self.culling = select(config.rasterizer, device, cull_backfaces=True)
        self.writers: dict[str, MeshWriter] = {
            f"mesh_{kind}": WRITERS[kind](basis) for kind in config.mesh_formats if config.mesh
        }

    def _angles(self, yaws: tuple[float, ...], pitches: tuple[float, ...]) -> Float[Tensor, "views 2"]:
        both = list(zip(yaws, pitches * (len(yaws) if len(pitches) == 1 else 1), strict=True)) if yaws else []
        return torch.tensor(both, dtype=torch.float32, device=self.device).reshape(-1, 2)

    def __call__(self, batch: Batch) -> Batch:
        live = batch.live_faces()
        for start in range(0, len(live), self.config.batch_size):
            index = live[start : start + self.config.batch_size]
            for name, values in self._draw(batch, index).items():
                batch.put(name, values, index)
        return batch

    def _tensor(self, batch: Batch, name: str, index: np.ndarray) -> Tensor:
        return torch.as_tensor(batch.faces[name][index], device=self.device)

    def _draw(self, batch: Batch, index: np.ndarray) -> dict[str, Any]:
        config = self.config
        crop = self._tensor(batch, "crop", index)
        size, samples = crop.shape[1], config.supersample
        rotation = camera.rotation_from_deg(self._tensor(batch, "rotation_deg", index))
        coefficients = torch.cat([self._tensor(batch, name, index) for name in ("identity", "expression")], 1)
        vertices = self.model.vertices(coefficients)
        place = (rotation, self._tensor(batch, "translation", index), self._tensor(batch, "focal_px", index), size)
        fragments = self.rasterizer(placed(vertices, *place, samples), self.model.triangles, size * samples, size * samples)

        normals = to_viewer(self.model.normals(vertices), rotation)
        modelled = model_texture(self.atlas, self._tensor(batch, "albedo", index), normals, self._tensor(batch, "light", index))
        usable = self._usable(batch, index)
        photo, trust = unwrap(self.atlas, crop, usable, placed(vertices, *place), normals, fragments)
        textures = complete(self.atlas, modelled, photo, trust)

        drawing = draw_textured(fragments, self.corner_uv, textures, samples)
        out: dict[str, Any] = {
            "render": Drawing(drawing.colour, torch.ones_like(drawing.coverage)).picture(0).cpu().numpy(),
            "render_mask": (drawing.coverage >= 0.5).cpu().numpy(),
        }
        if config.overlay:
            inside = soft_edge(drawing.coverage > 0.5, round(config.skin_edge * size))
            out["overlay"] = (
                Drawing(drawing.colour, drawing.coverage * inside).picture(crop, config.overlay_opacity).cpu().numpy()
            )
        if len(self.edge_turns):
            sigma = config.edge_sigma_px * size / 256
            mesh = (vertices, self.model.triangles, self.corner_uv, textures)
            out["edge_votes"] = edge_votes(*mesh, place, self.edge_turns, self.rasterizer, sigma, samples).cpu().numpy()
        if config.light != "photo":
            textures = self._relit(textures, modelled, self._tensor(batch, "albedo", index), vertices)
        if config.views and len(self.angles):
            out["views"] = self._views(vertices, textures, size).cpu().numpy()
            out["view_angles_deg"] = self.angles.cpu().numpy()[None].repeat(len(index), 0)
        if self.writers:
            out["mesh_texture"] = textures.cpu().numpy()
            parts = (vertices, self.model.normals(vertices), textures)
            faces = [ExportedFace(*face) for face in zip(*(part.cpu().numpy() for part in parts), strict=True)]
            out |= {column: [writer(face) for face in faces] for column, writer in self.writers.items()}
        return out

    def _relit(self, textures: Tensor, modelled: Tensor, albedo: Tensor, vertices: Tensor) -> Tensor:
        """The textures without the photo's light, or under a soft one from the face's front."""
        bare = without_light(self.atlas, textures, modelled, albedo)
        if self.config.light == "none":
            return self.atlas.spread(to_uint8(bare))
        light = frontal_light().to(bare).expand(len(bare), -1, -1)
        return self.atlas.spread(to_uint8(bare * self.atlas.interpolate(shade(self.model.normals(vertices), light))))

    def _usable(self, batch: Batch, index: np.ndarray) -> Float[Tensor, "faces height width"]:
        """How far the photo shows the face's own skin, eyes and brows; all that is not hidden where hardly any skin is."""
        occluder, valid = (self._tensor(batch, name, index) for name in ("occluder", "crop_valid"))
        size = occluder.shape[-1]
        open_ = usable_pixels(occluder, valid, round(self.config.occluder_margin * size))
        if "visible_face" not in batch.faces:
            return open_
        landmarks = landmarks_in_crop(batch, index)
        features = torch.as_tensor(eyes_and_brows(landmarks, size).any(0), device=self.device)
        skin = self._tensor(batch, "visible_face", index)
        shown = soft_edge(skin | features, round(self.config.skin_edge * size)) * open_
        enough = skin.flatten(1).float().mean(1) > 0.004
        return torch.where(enough[:, None, None], shown, open_)

    def _views(self, vertices: Float[Tensor, "faces vertices 3"], textures: Tensor, size: int) -> Tensor:
        """(faces, views, size, size, 3): every face from every angle, framed by the mean face."""
        samples = self.config.supersample
        points = turned(vertices, self.model.shape.mean, self.angles, size, samples)
        together = len(points) if points.is_cuda else 1  # on a CPU, few pictures at a time stay in its cache
        views = []
        for faces, own in zip(points.split(together), textures.split(together), strict=True):
            fragments = self.culling(faces.flatten(0, 1), self.model.triangles, size * samples, size * samples)
            own = own.repeat_interleave(len(self.angles), 0) if len(own) > 1 else own
            views.append(draw_textured(fragments, self.corner_uv, own, samples).picture(self.config.background))
        return torch.cat(views).unflatten(0, (len(points), len(self.angles)))
