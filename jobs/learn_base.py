"""Learn a face base (a morphable model) from a folder of portraits.

    python -m jobs.learn_base --photos DIR --output operators/models/open_face.npz

Every photo of DIR and its sub-folders is used once: one face each, frontal or nearly so. Sub-folders mean something:
photos under a folder named in --neutral are known to be without expression; photos under one named in --expressive show the
same people with an expression, told by the part of the file name before the first "_" (neutral/012_03.jpg and
smiling/012_08.jpg are one person). Each folder counts as one studio when light is told from skin tone.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from operators.morphable.bases.open_face import save_open_face
from operators.morphable.learn.align import mirrored, similarity
from operators.morphable.learn.shape import align_faces, learn_shape
from operators.morphable.learn.texture import learn_texture
from operators.morphable.learn.topology import OUTER_EYES, Topology, landmark_pairs, read_topology
from operators.morphable.subdivide import Refinement
from operators.morphable.uv import build_atlas, unwrap
from operators.types import option

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class LearnBaseConfig:
    """What can be chosen when a base is learned."""

    neutral: tuple[str, ...] = option(("webmorph_neutral", "webmorph_canada"), "folders of photos without expression")
    expressive: tuple[str, ...] = option(("webmorph_smiling",), "folders of the same people with an expression")
    identities: int = option(60, "identity modes to keep")
    expressions: int = option(8, "expression modes to learn from pairs")
    albedos: int = option(48, "albedo modes to keep")
    texture_px: int = option(192, "side of the square texture")
    levels: int = option(2, "times that each triangle is split in four when the base is read")
    eye_distance_mm: float = option(90.0, "distance of the outer eye corners of the mean face: sets the unit")
    min_eye_distance_px: float = option(50.0, "photos whose face is smaller are left out")


@dataclass
class Photos:
    """What is kept of the photos while learning."""

    paths: list[Path] = field(default_factory=list)
    folder: list[str] = field(default_factory=list)
    landmarks: list[np.ndarray] = field(default_factory=list)


def find_photos(root: Path) -> list[Path]:
    """Photos under a folder, in name order."""
    return sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES)


def read_photos(root: Path, landmarks: Any, config: LearnBaseConfig) -> Photos:
    """Photos that have landmarks and a large enough face."""
    photos = Photos()
    for path in find_photos(root):
        points = landmarks(path)
        if points is None or np.linalg.norm(np.subtract(*points[list(OUTER_EYES), :2])) < config.min_eye_distance_px:
            continue
        photos.paths.append(path)
        photos.folder.append(path.relative_to(root).parts[0] if path.parent != root else "")
        photos.landmarks.append(points)
    return photos


def people(photos: Photos, config: LearnBaseConfig) -> np.ndarray:
    """A number per photo, equal for one person: photos of the neutral and expressive folders share a person by name."""
    names = []
    for path, folder in zip(photos.paths, photos.folder, strict=True):
        related = folder in config.expressive or folder in config.neutral[:1]
        names.append(f"pair/{path.stem.split('_')[0]}" if related else f"{folder}/{path.stem}")
    return np.unique(names, return_inverse=True)[1]


def decode(path: Path) -> np.ndarray:
    """RGB uint8."""
    import cv2

    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def learn(photos: Photos, topology: Topology, config: LearnBaseConfig, output: Path, say=print) -> None:
    """The whole of it: shape, then texture, then the file."""
    scale = config.eye_distance_mm / np.linalg.norm(np.subtract(*topology.points[list(OUTER_EYES)]))
    start = (topology.points - topology.points.mean(0)) * scale
    raw = np.stack(photos.landmarks).astype(np.float64)
    faces = align_faces(raw * [1.0, -1.0, -1.0], topology.mirror, start)
    person = people(photos, config)
    neutral = np.isin(photos.folder, config.neutral)
    say(f"shape: {len(faces)} photos, {person.max() + 1} people, {neutral.sum()} known neutral")
    shape = learn_shape(faces, person, neutral, topology.mirror, config.identities, config.expressions)
    mean = shape.mean.reshape(-1, 3)
    unit = config.eye_distance_mm / np.linalg.norm(np.subtract(*mean[list(OUTER_EYES)]))
    mean = mean * unit
    say(f"shape: {len(shape.identity)} identity, {len(shape.expression)} expression modes, noise {shape.noise:.3f} mm")

    refined = Refinement(mean, topology.triangles, config.levels)
    fine_uv = refined.linear @ topology.uv
    atlas = build_atlas(topology.uv, topology.triangles, config.texture_px)
    fine_atlas = build_atlas(fine_uv, refined.triangles, config.texture_px)
    if not np.array_equal(atlas.texels, fine_atlas.texels):
        raise RuntimeError("the fine and the coarse mesh cover different texels")
    color, normal, weight, studio = [], [], [], []
    folders = sorted(set(photos.folder))
    for i, path in enumerate(photos.paths):
        image = decode(path)
        seen = unwrap(image, refined.smooth @ raw[i], refined.triangles, fine_uv, fine_atlas)
        if colourless(seen.color, seen.visible):
            continue
        color.append(seen.color.astype(np.float16))
        normal.append(seen.normal.astype(np.float16))
        weight.append((seen.visible * np.clip(seen.footprint / np.median(seen.footprint) * 3, 0, 1)).astype(np.float32))
        studio.append(folders.index(photos.folder[i]))
        if i % 100 == 99:
            say(f"unwrapped {i + 1} of {len(photos.paths)}")
    say(f"texture: {len(color)} colour photos, {len(atlas.texels)} texels")
    texture = learn_texture(
        np.stack(color), np.stack(normal), np.stack(weight), np.array(studio), fine_atlas.mirrored(), config.albedos, progress=say
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    save_open_face(
        output,
        mean,
        shape.identity.reshape(-1, *mean.shape) * unit,
        shape.expression.reshape(-1, *mean.shape) * unit,
        topology.triangles,
        topology.uv,
        topology.mirror,
        landmark_pairs(),
        config.levels,
        config.texture_px,
        texture.mean,
        texture.modes,
        texture.light_mean,
        texture.light_std,
    )
    digest = hashlib.sha256(output.read_bytes()).hexdigest()
    say(f"wrote {output}: {output.stat().st_size / 1e6:.2f} MB, sha256 {digest}")


def colourless(color: np.ndarray, visible: np.ndarray) -> bool:
    """True for a grey photo: its channels agree to 1 part in 50."""
    return bool(np.ptp(color[visible], axis=1).mean() < 0.02) if visible.any() else True


def cached_landmarks(root: Path, file: Path):
    """Landmarks from an .npz whose keys are paths relative to the photo folder, with "|" for "/"."""
    table = np.load(file, allow_pickle=False)

    def look_up(path: Path) -> np.ndarray | None:
        key = "|".join(path.relative_to(root).parts)
        return table[key] if key in table else None

    return look_up


def parser() -> argparse.ArgumentParser:
    """Command line; every config field is an option."""
    result = argparse.ArgumentParser(
        prog="python -m jobs.learn_base", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--photos", type=Path, required=True, metavar="DIR", help="folder of portraits")
    result.add_argument("--output", type=Path, required=True, metavar="NPZ", help="base file to write")
    result.add_argument("--mesh", type=Path, metavar="OBJ", help="the face mesh with UV (canonical_face_model.obj)")
    result.add_argument("--landmarks", type=Path, metavar="NPZ", help="use these landmarks and find none")
    for f in fields(LearnBaseConfig):
        many = isinstance(f.default, tuple)
        result.add_argument(
            f"--{f.name.replace('_', '-')}",
            type=str if many else type(f.default),
            nargs="*" if many else None,
            default=f.default,
            help=f"{f.metadata['help']} (default: {' '.join(f.default) if many else f.default})",
        )
    return result


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    options = parser().parse_args(arguments)
    values = {f.name: getattr(options, f.name) for f in fields(LearnBaseConfig)}
    config = LearnBaseConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    photos = read_photos(options.photos, cached_landmarks(options.photos, options.landmarks), config)
    learn(photos, read_topology(options.mesh), config, options.output, lambda text: print(text, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
