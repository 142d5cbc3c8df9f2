"""Fit the evidence that a lower face is covered, from a folder of unmasked portraits; print it for `operators.segment.presence`.

python -m jobs.learn_presence FOLDER [--every N] [--rounds N] [--seed N]

Every portrait gives landmark colours. They are taken as they are, and with a mask painted on the lower face's vertices, under
random skin tone, gamma, white balance, exposure, side light and saturation; a logistic regression tells the two apart.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from operators.assets import AssetStore
from operators.batch import Batch
from operators.faces.aligner import FaceAligner
from operators.faces.detector import FaceDetector
from operators.faces.landmarker import FaceLandmarker
from operators.pipeline import run
from operators.segment.presence import SKIN, landmark_colours, region_features
from operators.segment.prompts import eye_line_and_scale, landmarks_in_crop

Colours = Float[np.ndarray, "faces 468 3"]
Positions = Float[np.ndarray, "faces 468 2"]

_DARK_SKIN = np.log(np.array([0.5, 0.38, 0.32]))


def read_portraits(paths: Sequence[Path], batch_size: int = 32) -> tuple[Colours, Positions]:
    """Landmark colours of the first face of each photo, and landmark positions from the nose tip in eye-to-chin distances."""
    assets = AssetStore()
    operators = [FaceDetector(assets=assets), FaceLandmarker(assets=assets), FaceAligner()]
    colours, positions = [], []
    for start in range(0, len(paths), batch_size):
        batch = run(operators, Batch.from_images([path.read_bytes() for path in paths[start : start + batch_size]]))
        faces = np.array([face for face in batch.live_faces() if batch.faces["face_index"][face] == 0], np.int64)
        if len(faces):
            landmarks = landmarks_in_crop(batch, faces)
            unit = np.linalg.norm(eye_line_and_scale(landmarks)[1], axis=1)[:, None, None]
            colours.append(landmark_colours(batch.faces["crop"][faces], landmarks))
            positions.append((landmarks - landmarks[:, 4:5]).astype(np.float64) / unit)
    return np.concatenate(colours), np.concatenate(positions)


def relight(colours: Colours, positions: Positions, random: np.random.Generator) -> Colours:
    """The same faces with other skin tones, cameras and light."""
    n = len(colours)

    def spread(width: float, channels: int = 1) -> np.ndarray:
        return np.exp(random.normal(0, width, (n, 1, channels)))

    tone = random.random((n, 1, 1)) * (random.random((n, 1, 1)) < 0.5)
    linear = ((colours + 1) / 256 * np.exp(tone * _DARK_SKIN)) ** spread(0.25) * spread(0.12, 3) * spread(0.25)
    linear = linear * _side_light(positions, random, 0.45)[..., None]
    grey = linear.mean(-1, keepdims=True)
    saturation = np.where(random.random((n, 1, 1)) < 0.06, 0, spread(0.3))
    return np.clip(grey + (linear - grey) * saturation, 0, 1) * 255


def paint_masks(colours: Colours, positions: Positions, random: np.random.Generator) -> Colours:
    """The same faces with white, dark, light-blue or any colour on the vertices below a random top edge; some two-coloured."""
    n = len(colours)
    kind = random.random((n, 1))
    white = random.uniform(150, 250, (n, 1)) + random.normal(0, 8, (n, 3))
    dark = random.uniform(8, 70, (n, 1)) + random.normal(0, 6, (n, 3))
    blue = random.uniform((90, 150, 180), (170, 215, 240), (n, 3))
    base = np.select([kind < 0.35, kind < 0.6, kind < 0.75], [white, dark, blue], random.uniform(10, 250, (n, 3)))
    base = base * np.clip(np.median(colours[:, SKIN], 1).mean(1) / 170, 0.35, 1.15)[:, None]
    cloth = base[:, None] * (_side_light(positions, random, 0.25) * np.exp(random.normal(0, 0.08, (n, 468))))[..., None]
    printed = (random.random((n, 468)) < 0.4) & (random.random((n, 1)) < 0.15)
    cloth = np.where(printed[..., None], random.uniform(0, 255, (n, 1, 3)), cloth)
    top = np.where(random.random((n, 1)) < 0.15, random.uniform(0.12, 0.3, (n, 1)), random.uniform(-0.25, 0.0, (n, 1)))
    return np.where((positions[..., 1] > top)[..., None], np.clip(cloth, 0, 255), colours)


def fit(features: Float[np.ndarray, "samples k"], labels: Float[np.ndarray, " samples"], penalty: float = 1e-3) -> np.ndarray:
    """(k + 1,) weights and bias of a logistic regression with an L2 penalty on the weights of standardised features."""
    mean, deviation = features.mean(0), features.std(0) + 1e-9
    design = np.concatenate([(features - mean) / deviation, np.ones((len(features), 1))], 1)
    counts = np.append(np.ones(features.shape[1]), 0)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = design @ weights
        slope = 1 / (1 + np.exp(-score)) - labels
        value = np.logaddexp(0, score).mean() - (labels * score).mean() + penalty * (counts * weights**2).sum()
        return float(value), design.T @ slope / len(labels) + 2 * penalty * counts * weights

    weights = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B").x
    weights[:-1] /= deviation
    weights[-1] -= weights[:-1] @ mean
    return weights


def learn(colours: Colours, positions: Positions, rounds: int, seed: int) -> np.ndarray:
    """(31,) weights of 15 signed and 15 absolute features, and the bias."""
    random = np.random.default_rng(seed)
    features, labels = [], []
    for _ in range(rounds):
        for label, faces in ((0.0, colours), (1.0, paint_masks(colours, positions, random))):
            regions = region_features(relight(faces, positions, random)).reshape(len(faces), -1)
            features.append(np.concatenate([regions, np.abs(regions)], 1))
            labels.append(np.full(len(faces), label))
    return fit(np.concatenate(features), np.concatenate(labels))


def _side_light(positions: Positions, random: np.random.Generator, strength: float) -> np.ndarray:
    angle = random.uniform(0, 2 * np.pi, (len(positions), 1))
    along = positions[..., 0] * np.cos(angle) + positions[..., 1] * np.sin(angle)
    return np.exp(np.abs(random.normal(0, strength, (len(positions), 1))) * along)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of unmasked portraits, searched recursively")
    parser.add_argument("--every", type=int, default=4, help="use every Nth photo")
    parser.add_argument("--rounds", type=int, default=15, help="times that each photo is relit and painted")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random light and masks")
    options = parser.parse_args(arguments)
    paths = sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))[:: options.every]
    colours, positions = read_portraits(paths)
    weights = learn(colours, positions, options.rounds, options.seed)
    print(f"# {len(colours)} of {len(paths)} portraits")
    for name, table in (("_SIGNED", weights[:15]), ("_ABSOLUTE", weights[15:30])):
        print(f"{name} = np.array({np.round(table, 2).reshape(5, 3).tolist()})")
    print(f"_BIAS = {weights[30]:.2f}")


if __name__ == "__main__":
    main()
