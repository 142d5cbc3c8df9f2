"""Learn a face base (a morphable model) from a folder of portraits.

    python -m jobs.learn_base --photos DIR --output operators/models/open_face.npz

Every photo of DIR and its sub-folders is used once: one face each, frontal or nearly so. Sub-folders mean something:
photos under a folder named in --neutral are known to be without expression; photos under one named in --expressive show the
people of the first neutral folder with an expression, told by the part of the file name before the first "_"
(neutral/012_03.jpg and smiling/012_08.jpg are one person). Each folder counts as one studio when light is told from skin tone.

With --evaluate FILE.json a tenth of the people is kept apart, and what the base learned from the others does to them is
written to that file instead of a base.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

import operators
from jobs.image_lists import chosen_labels
from jobs.storage import StorageConfig
from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.detector import FaceDetector, FaceDetectorConfig
from operators.faces.ibug68 import VERTICES as IBUG68
from operators.faces.landmarker import FaceLandmarker
from operators.images import decode_rgb
from operators.morphable.bases.open_face import save_open_face
from operators.morphable.learn.align import align_faces
from operators.morphable.learn.shape import (
    ShapeModel,
    held_out_error,
    landmark_fields,
    learn_shape,
    merge_expressions,
    specificity,
)
from operators.morphable.learn.texture import TextureModel, learn_texture
from operators.morphable.learn.topology import (
    EYE_CONTOUR,
    HAIRLINE,
    MOUTH_CONTOUR,
    OUTER_EYES,
    Topology,
    read_topology,
)
from operators.morphable.subdivide import Refinement
from operators.morphable.uv import build_atlas, contour_mask, fold_atlas, unwrap
from operators.pipeline import run
from operators.types import OK, option

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MODELS = Path(operators.__file__).resolve().parent / "models"
MESH = MODELS / "canonical_mesh.npz"
EXPRESSIONS = MODELS / "ict_expressions68.npz"
Landmarks = Callable[[Path], np.ndarray | None]
Say = Callable[[str], None]


@dataclass(frozen=True)
class LearnBaseConfig:
    """What can be chosen when a base is learned."""

    neutral: tuple[str, ...] = option(("webmorph_neutral", "webmorph_canada"), "folders of photos without expression")
    expressive: tuple[str, ...] = option(("webmorph_smiling",), "folders of the same people with an expression")
    identities: int = option(60, "identity modes to keep")
    expressions: int = option(8, "expression modes to learn from pairs of photos")
    borrowed: int = option(24, "expression modes to add from the blendshapes that come with the project")
    albedos: int = option(60, "albedo modes to keep")
    texture_px: int = option(192, "side of the square texture")
    levels: int = option(2, "times that each triangle is split in four when the base is read")
    eye_distance_mm: float = option(90.0, "distance of the outer eye corners of the mean face: sets the unit")
    min_eye_distance_px: float = option(50.0, "photos whose face is smaller are left out")


@dataclass
class Photos:
    """The photos that are used, in name order."""

    paths: list[Path] = field(default_factory=list)
    folder: list[str] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)


def find_photos(root: Path, names: Collection[str] | None = None) -> list[Path]:
    """Photos under a folder, in name order; with `names` (paths without suffix) only those."""
    photos = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)
    return [p for p in photos if names is None or p.relative_to(root).with_suffix("").as_posix() in names]


def read_photos(
    root: Path, landmarks: Landmarks, config: LearnBaseConfig, say: Say, names: Collection[str] | None = None
) -> Photos:
    """Photos (of those in `names`) that have landmarks and a large enough face. Errors: ValueError when none has."""
    photos, found = Photos(), find_photos(root, names)
    for path in found:
        points = landmarks(path)
        if points is None or eye_distance(points[:, :2]) < config.min_eye_distance_px:
            continue
        photos.paths.append(path)
        photos.folder.append(path.relative_to(root).parts[0] if path.parent != root else "")
        photos.landmarks.append(points)
    say(f"photos: {len(photos.paths)} of {len(found)} have a face with eyes {config.min_eye_distance_px:g} px apart")
    if not photos.paths:
        raise ValueError(f"{root}: no usable portrait among {len(found)} photos: expected faces of at least that size")
    return photos


def eye_distance(points: np.ndarray) -> float:
    """Distance of the outer eye corners."""
    return float(np.linalg.norm(points[OUTER_EYES[0]] - points[OUTER_EYES[1]]))


def people(photos: Photos, config: LearnBaseConfig) -> np.ndarray:
    """A number per photo, equal for one person: the first neutral folder and the expressive ones share people by name."""
    shared = (*config.neutral[:1], *config.expressive)
    names = [
        f"pair/{path.stem.split('_')[0]}" if folder in shared else f"{folder}/{path.stem}"
        for path, folder in zip(photos.paths, photos.folder, strict=True)
    ]
    return np.unique(names, return_inverse=True)[1]


def aligned(photos: Photos, topology: Topology, config: LearnBaseConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Aligned meshes in about millimetres, the person of each, and which are known to be neutral."""
    start = (topology.points - topology.points.mean(0)) * (config.eye_distance_mm / eye_distance(topology.points))
    faces = align_faces(np.stack(photos.landmarks).astype(np.float64) * [1.0, -1.0, -1.0], topology.mirror, start)
    return faces, people(photos, config), np.isin(photos.folder, config.neutral)


def finished(shape: ShapeModel, topology: Topology, config: LearnBaseConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, identity and expression modes in millimetres on the mesh, borrowed expressions added."""
    mean = shape.mean.reshape(-1, 3)
    unit = config.eye_distance_mm / eye_distance(mean)
    mean, expression = mean * unit, shape.expression * unit
    if config.borrowed:
        with np.load(EXPRESSIONS, allow_pickle=False) as file:
            moved = file["displacement_mm"].astype(np.float64) * (config.eye_distance_mm / 90.0)
        still = np.array(HAIRLINE)
        borrowed = landmark_fields(moved, np.array(IBUG68), still, mean, topology.triangles[~topology.mouth])
        expression = merge_expressions(expression, borrowed, mean, topology.mirror, config.borrowed)
    return mean, shape.identity.reshape(-1, *mean.shape) * unit, expression.reshape(-1, *mean.shape)


def texture_of(
    photos: Photos, mean: np.ndarray, topology: Topology, config: LearnBaseConfig, test: np.ndarray | None, say: Say
) -> TextureModel:
    """Unwrap the colour photos and learn albedo and light. `test`: per photo, True = kept apart."""
    refined = Refinement(mean, topology.triangles, config.levels, topology.mouth)
    fine_uv = refined.linear @ topology.uv
    atlas = build_atlas(topology.uv, topology.triangles, config.texture_px)
    # the same texels as when the file is read: those of the coarse mesh
    fine = build_atlas(fine_uv, refined.triangles, config.texture_px).at(atlas)
    fold = fold_atlas(atlas)
    eye, mouth = np.array(EYE_CONTOUR), np.array(MOUTH_CONTOUR)
    between = contour_mask([topology.uv[mouth]], atlas)
    lips = (contour_mask([topology.uv[mouth]], atlas, soft_px=3.0) > 0.02) & (between == 0)
    features = contour_mask([topology.uv[eye], topology.uv[topology.mirror[eye]], topology.uv[mouth]], atlas, soft_px=0.7)
    color, normal, weight, kept = [], [], [], []
    neutral = np.isin(photos.folder, config.neutral)
    for i, path in enumerate(photos.paths):
        image = decode_rgb(path.read_bytes())
        seen = unwrap(image, refined.smooth @ photos.landmarks[i], refined.triangles, fine_uv, fine)
        if (i + 1) % 100 == 0:
            say(f"unwrapped {i + 1} of {len(photos.paths)}")
        if colourless(seen.color, seen.visible):
            continue
        # where the mesh is folded together there is no colour to see, except that a closed mouth shows its line
        clear = np.clip(seen.footprint / np.median(seen.footprint) * 3, 0, 1)
        clear = np.maximum(clear, between) if neutral[i] else clear
        facing = np.clip((seen.normal[:, 2] - 0.2) / 0.4, 0, 1)
        folded = between > 0.5  # normals mean nothing there: take the lips'
        turned = seen.normal.copy()
        turned[folded] = seen.normal[lips].mean(0) / np.linalg.norm(seen.normal[lips].mean(0))
        color.append(seen.color.astype(np.float16))
        normal.append(turned.astype(np.float16))
        weight.append((np.where(folded, 1, seen.visible * facing) * clear).astype(np.float32))
        kept.append(i)
    say(f"texture: {len(color)} colour photos, {len(atlas.texels)} texels")
    folders = np.unique(photos.folder, return_inverse=True)[1]
    return learn_texture(
        np.stack(color),
        np.stack(normal),
        np.stack(weight),
        folders[kept],
        fold,
        1 - features[fold.left],
        between[fold.left],
        neutral[kept],
        config.albedos,
        test=None if test is None else np.flatnonzero(test[kept]),
        progress=say,
    )


def colourless(color: np.ndarray, visible: np.ndarray) -> bool:
    """True for a grey photo (its channels agree to 1 part in 50) and for one of which nothing is seen."""
    return not visible.any() or float(np.ptp(color[visible], axis=1).mean()) < 0.02


def learn(photos: Photos, topology: Topology, config: LearnBaseConfig, output: Path, say: Say) -> None:
    """Learn from all photos and write the base."""
    faces, person, neutral = aligned(photos, topology, config)
    say(f"shape: {len(faces)} photos, {person.max() + 1} people, {int(neutral.sum())} known neutral")
    shape = learn_shape(faces, person, neutral, topology.mirror, config.identities, config.expressions)
    mean, identity, expression = finished(shape, topology, config)
    say(f"shape: {len(identity)} identity, {len(expression)} expression modes, {shape.noise:.3f} mm left")
    texture = texture_of(photos, mean, topology, config, None, say)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_open_face(
        output,
        mean,
        identity,
        expression,
        topology.triangles,
        topology.uv,
        topology.mirror,
        topology.mouth,
        np.array(IBUG68),
        config.levels,
        config.texture_px,
        texture.mean,
        texture.modes,
        texture.light_mean,
        texture.light_std,
    )
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    say(f"wrote {output}: {output.stat().st_size / 1e6:.2f} MB, sha256 {digest}")


def evaluate(photos: Photos, topology: Topology, config: LearnBaseConfig, report: Path, say: Say) -> None:
    """Learn from nine tenths of the people and measure on the rest."""
    faces, person, neutral = aligned(photos, topology, config)
    test = person % 10 == 3
    shape = learn_shape(faces[~test], person[~test], neutral[~test], topology.mirror, config.identities, config.expressions)
    variance = (shape.identity**2).sum(1)
    counts = tuple(c for c in (0, 5, 10, 20, 40, 60, 80) if c <= len(shape.identity))
    size = eye_distance(shape.mean.reshape(-1, 3))
    texture = texture_of(photos, shape.mean.reshape(-1, 3), topology, config, test, say)
    result = {
        "photos_learned": int((~test).sum()),
        "photos_held_out": int(test.sum()),
        "identity_share_of_kept_variance": {c: round(float(variance[:c].sum() / variance.sum()), 4) for c in counts},
        "held_out_vertex_error_eye_distances": held_out_error(faces[test], shape, counts, size),
        "specificity_eye_distances": {c: specificity(faces[~test & neutral], shape, c, size) for c in counts if c},
        "held_out_albedo_rms": dict(texture.held_out),
    }
    report.write_text(json.dumps(result, indent=1))
    say(json.dumps(result, indent=1))


def cached_landmarks(root: Path, file: Path) -> Landmarks:
    """Landmarks from an .npz whose keys are paths relative to the photo folder, with "|" for "/"."""
    table = np.load(file, allow_pickle=False)

    def look_up(path: Path) -> np.ndarray | None:
        key = "|".join(path.relative_to(root).parts)
        return table[key] if key in table.files else None

    return look_up


def detected_landmarks(paths: list[Path], say: Say, batch_size: int = 32) -> Landmarks:
    """Landmarks of the largest face of each photo, by the project's own detector and face mesh."""
    from jobs.assets import ensure

    assets = ensure((*FaceDetector.info.assets, *FaceLandmarker.info.assets), AssetStore())
    steps = [FaceDetector(FaceDetectorConfig(keep="largest"), assets), FaceLandmarker(assets=assets)]
    table: dict[Path, np.ndarray] = {}
    for start in range(0, len(paths), batch_size):
        some = paths[start : start + batch_size]
        batch = run(steps, Batch.from_images([p.read_bytes() for p in some], [str(p) for p in some]))
        for face in batch.live_faces():
            if batch.rows["status"][batch.face_row[face]] == OK:
                table[some[batch.face_row[face]]] = batch.faces["landmarks468_px"][face]
        say(f"landmarks: {start + len(some)} of {len(paths)} photos, {len(table)} faces")
    return table.get


def parser() -> argparse.ArgumentParser:
    """Command line; every config field is an option."""
    style = argparse.RawDescriptionHelpFormatter
    result = argparse.ArgumentParser(prog="python -m jobs.learn_base", description=__doc__, formatter_class=style)
    result.add_argument("--photos", type=Path, required=True, metavar="DIR", help="folder of portraits")
    result.add_argument("--output", type=Path, metavar="NPZ", help="base file to write")
    result.add_argument("--evaluate", type=Path, metavar="JSON", help="measure on people kept apart, and write no base")
    result.add_argument(
        "--mesh", type=Path, metavar="OBJ|NPZ", default=MESH, help="the face mesh with UV (default: the project's own)"
    )
    result.add_argument("--image-list", metavar="CSV", help="learn only from the photos that this list names")
    result.add_argument("--split", default="", help="with --image-list: only from photos of this split, e.g. train")
    result.add_argument("--landmarks", type=Path, metavar="NPZ", help="use these landmarks, and detect none")
    for f in fields(LearnBaseConfig):
        shown = " ".join(f.default) if isinstance(f.default, tuple) else f.default
        kind: dict[str, Any] = {"type": str, "nargs": "*"} if isinstance(f.default, tuple) else {"type": type(f.default)}
        text = f"{f.metadata['help']} (default: {shown})"
        result.add_argument(f"--{f.name.replace('_', '-')}", default=f.default, help=text, **kind)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    options = parser().parse_args(arguments)
    if not options.output and not options.evaluate:
        parser().error("say where the base goes (--output NPZ), or --evaluate JSON")

    def say(text: str) -> None:
        print(text, flush=True)

    values: dict[str, Any] = {f.name: getattr(options, f.name) for f in fields(LearnBaseConfig)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    config = LearnBaseConfig(**values)
    names = set(chosen_labels(options.image_list, options.split, StorageConfig())) if options.image_list else None
    if options.landmarks:
        landmarks = cached_landmarks(options.photos, options.landmarks)
    else:
        landmarks = detected_landmarks(find_photos(options.photos, names), say)
    photos = read_photos(options.photos, landmarks, config, say, names)
    topology = read_topology(options.mesh)
    if options.evaluate:
        evaluate(photos, topology, config, options.evaluate, say)
    if options.output:
        learn(photos, topology, config, options.output, say)
    return 0


if __name__ == "__main__":
    sys.exit(main())
