"""A hand before a face: bones posed by joint angles, flesh around them, the face's own skin, an arm that leaves the picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from operators.synthesize.base import Layer, Outfit
from operators.synthesize.coverage import aim, size_for
from operators.synthesize.hand_kernels import SLEEVE, UPPER_SLEEVE, draw_hand
from operators.synthesize.hand_skin import Hand, Surface, flesh_and_cloth
from operators.synthesize.setting import FaceFrame, Scene, contact_shadow, on_head

# A right hand seen from its back, cm: x to the thumb, y to the fingertips, z out of the back. Lengths and widths of an adult's
# bones after Buryanov and Kotiuk, "Proportions of hand segments", 2010.
_KNUCKLES = np.array([[2.75, 8.9, 0.1], [0.75, 9.3, 0.25], [-1.15, 8.8, 0.15], [-2.95, 7.9, -0.1]])
_CARPALS = np.array([[1.35, 1.0, 0.0], [0.45, 0.9, 0.1], [-0.5, 0.9, 0.1], [-1.4, 1.0, 0.0]])
_PHALANGES = np.array([[4.4, 2.5, 1.75], [4.9, 2.95, 1.85], [4.5, 2.8, 1.85], [3.5, 2.05, 1.65]])
_RADII = np.array([[1.02, 0.92, 0.78, 0.62], [1.05, 0.94, 0.80, 0.64], [0.98, 0.88, 0.75, 0.60], [0.86, 0.76, 0.65, 0.52]])
_FAN_DEG = np.array([-5.0, -1.0, 4.0, 11.0])
_THUMB = np.array([[1.9, 1.6, -0.5], [4.1, 4.4, -1.1], [5.5, 7.2, -1.4], [6.2, 9.4, -1.5]])
_MIDDLE = np.array([0.0, 1.0, -7.0])
_SHOULDER = np.array([-16.5, 24.0, 6.0])
_THUMB_RADII = (1.45, 1.15, 1.0, 0.74)


@dataclass(frozen=True)
class Pose:
    """How a hand is held. Angles in degrees; `anchor` (hand cm) comes to lie on `target` (canonical face cm).

    `direction` is that of the fingers in the picture, 0 = to the viewer's right, 90 = up, for an arm from the viewer's left.
    """

    direction: float
    anchor: tuple[float, float, float]
    target: tuple[float, float, float]
    curl: tuple[float, float, float]
    spread: float
    thumb: float


_POSES = {
    "mouth": Pose(28.0, (0.3, 10.5, -1.3), (0.0, 4.2, -6.0), (12.0, 16.0, 10.0), 0.7, -8.0),
    "fingertips": Pose(58.0, (0.3, 16.0, -1.0), (1.0, 3.4, -6.0), (14.0, 24.0, 14.0), 0.5, -14.0),
    "cheek": Pose(78.0, (0.6, 9.0, -1.2), (-3.6, 2.6, -4.5), (8.0, 18.0, 12.0), 0.9, 2.0),
    "chin": Pose(48.0, (0.5, 11.0, -1.2), (-1.2, 7.4, -5.0), (28.0, 46.0, 24.0), 0.6, -8.0),
    "face": Pose(84.0, (0.3, 10.0, -1.2), (-0.6, 0.4, -7.0), (6.0, 10.0, 8.0), 1.4, 6.0),
}


@dataclass
class _Bones:
    """Tapered capsules, built one by one; `back` is each one's direction out of the back of the hand."""

    rows: list[np.ndarray] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    back: list[np.ndarray] = field(default_factory=list)

    def add(self, start, end, radii: tuple[float, float], group: int, back, flat: float = 1.0) -> None:
        self.rows.append(np.array([*start, radii[0], *end, radii[1], flat]))
        self.groups.append(group)
        self.back.append(np.asarray(back, np.float64))


def hand(
    image: UInt8[np.ndarray, "h w 3"],
    landmarks468_px: Float[np.ndarray, "468 3"],
    outfit: Outfit,
    seed: int,
    coverage: tuple[float, float] | None = None,
) -> Layer:
    """A hand over mouth, cheek, chin or the whole face; `outfit.colour` is the sleeve's, else it is that of the shoulder.

    The arm goes to the shoulder on its side, which in a portrait lies outside the picture. A coverage target is reached by
    moving the hand in from its arm's side and, beyond that, by its size.
    """
    rng = np.random.default_rng(seed)
    scene = Scene.of(image, landmarks468_px)
    frame = scene.frame
    wanted = aim(coverage, rng) if coverage else 0.0
    name = str(rng.choice(["mouth", "mouth", "fingertips", "cheek", "cheek", "chin", "face"]))
    if coverage:
        name = "face" if wanted > 0.42 else name if name != "face" or wanted > 0.3 else "mouth"
    pose, left = _POSES[name], bool(rng.random() < 0.5)
    side = -1.0 if left else 1.0
    target = np.array(pose.target) * (side, 1, 1) + rng.normal(0, (0.5, 0.4, 0.0))
    shoulder = frame.rotation @ (_SHOULDER * (side, 1, 1) - target)
    made = _pose(pose, frame, left, shoulder, rng)
    size = float(rng.uniform(0.93, 1.05))
    towards = made.arm[:2]
    if outfit.colour is None:
        outfit = replace(outfit, colour=_worn_colour(image, frame, side))

    def at(s: float) -> tuple[np.ndarray, float]:
        """Anchor in the picture and size: below 0 the hand comes in from its side, above it moves to the middle and grows."""
        place = frame.place(target + max(0.0, s) * (_MIDDLE - target))[:2]
        out = place + towards * max(0.0, -s) * 22.0 * frame.px_per_cm
        return out, size * (1.0 + max(0.0, s))

    s = 0.0
    if coverage:
        box = _face_box(landmarks468_px, image.shape[:2])
        if box is not None:
            s = size_for(
                lambda v: _alpha(made, *at(v), frame, image.shape[:2], box), landmarks468_px, coverage, wanted, (-1.0, 1.0)
            )
    return _paint(image.shape[:2], made, *at(s), scene, outfit, rng, seed)


def _pose(pose: Pose, frame: FaceFrame, left: bool, shoulder: np.ndarray, rng: np.random.Generator) -> Hand:
    """Bones of one hand in picture axes around its anchor, with a little of everyone's own way to hold it."""
    bones = _Bones()
    up = np.array([0.0, 0.0, 1.0])
    for carpal, knuckle, radius in zip(_CARPALS, _KNUCKLES, (1.25, 1.2, 1.12, 1.0), strict=True):
        bones.add(carpal, knuckle - (0, 0.3, 0.15), (1.25, radius), 0, up, 1.15)
        bones.add(knuckle - (0, 0.25, -0.12), knuckle - (0, -0.15, -0.08), (0.9 * radius, 0.85 * radius), 0, up)
    bones.add(_CARPALS[0] * 0.6, _THUMB[1] * 0.9, (1.5, 1.2), 0, up, 1.1)
    curl = np.array(pose.curl) * rng.uniform(0.7, 1.3)
    spread = pose.spread * rng.uniform(0.6, 1.3)
    for f in range(4):
        turn = np.deg2rad(_FAN_DEG[f] * spread + rng.normal(0, 1.2))
        straight = np.array([-np.sin(turn), np.cos(turn), 0.0])
        at, bend = _KNUCKLES[f], 0.0
        for joint in range(3):
            bend += np.deg2rad(curl[joint] * rng.uniform(0.85, 1.15) + 2.0 * f * (joint == 0))
            ahead = np.cos(bend) * straight - np.sin(bend) * up
            back = np.cos(bend) * up + np.sin(bend) * straight
            end = at + ahead * _PHALANGES[f, joint]
            bones.add(at, end, (_RADII[f, joint], _RADII[f, joint + 1]), 1 + f, back)
            if joint < 2:  # the knuckle is wider than the bones it joins
                knob = end + 0.06 * back
                bones.add(knob - 0.1 * ahead, knob + 0.1 * ahead, (_RADII[f, joint + 1] * 1.02,) * 2, 1 + f, back)
            at = end
    turn = np.deg2rad(pose.thumb + rng.normal(0, 5))
    rotate = np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    thumb = _THUMB[0] + (_THUMB - _THUMB[0]) @ rotate.T
    back = np.array([0.72, -0.1, 0.69])
    for k in range(3):
        bones.add(thumb[k], thumb[k + 1], (_THUMB_RADII[k], _THUMB_RADII[k + 1]), 5, back)
    # wrist and forearm, which turns down a little on its way to the elbow
    bend = np.deg2rad(rng.uniform(-14, 14))
    down = np.array([np.sin(bend), -np.cos(bend), -0.05])
    wrist = np.array([0.0, 0.3, 0.0])
    bones.add(wrist, wrist + down * 3.0, (2.15, 2.2), 0, up, 1.9)
    elbow = wrist + down * 25.0
    bones.add(wrist + down * 3.0, elbow, (2.2, 3.6), 0, up, 1.35)
    if rng.random() < 0.65:
        cuff = wrist + down * float(rng.choice([rng.uniform(1.0, 4.0), rng.uniform(5.0, 16.0)]))
        bones.add(cuff, elbow, (3.2, 4.6), SLEEVE, up, 1.4)
    rows = np.array(bones.rows)
    anchor = np.array(pose.anchor)
    angle = np.deg2rad(pose.direction + rng.normal(0, 7))
    fingers = np.array([np.cos(angle), -np.sin(angle), 0.0])
    thumbs = np.array([-np.sin(angle), -np.cos(angle), 0.0])
    axes = np.stack([thumbs, fingers, np.array([0, 0, -1.0])], 1)
    tilt = _rotation(rng.normal(0, 8), rng.normal(0, 8))
    turn3 = _part_of(frame.rotation, 0.7)
    mirror = np.diag([-1.0 if left else 1.0, 1.0, 1.0])
    matrix = turn3 @ mirror @ tilt @ axes
    for k in (0, 4):
        rows[:, k : k + 3] = (rows[:, k : k + 3] - anchor) @ matrix.T
    # the upper arm, always in a sleeve, ends where this person's shoulder is
    upper = np.array([*(matrix @ (elbow - anchor)), 4.4, *shoulder, 6.0, 1.2])
    groups = np.array([*bones.groups, UPPER_SLEEVE], np.int64)
    return Hand(np.concatenate([rows, upper[None]]), groups, np.array([*bones.back, up]) @ matrix.T)


def _rotation(x_deg: float, y_deg: float) -> np.ndarray:
    a, b = np.deg2rad((x_deg, y_deg))
    first = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    return np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]) @ first


def _part_of(rotation: np.ndarray, share: float) -> np.ndarray:
    """A rotation by part of the angle (Rodrigues)."""
    vector, _ = cv2.Rodrigues(rotation)
    return cv2.Rodrigues(vector * share)[0]


def _worn_colour(image: np.ndarray, frame: FaceFrame, side: float) -> tuple[int, int, int] | None:
    """Colour of what is worn on that side's shoulder; None where the picture does not show it."""
    x, y = frame.place(np.array([-11.0 * side, 20.0, 2.0]))[:2]
    half = 2.0 * frame.px_per_cm
    rows, columns = (
        slice(round(max(y - half, 0)), round(max(y + half, 0))),
        slice(round(max(x - half, 0)), round(max(x + half, 0))),
    )
    patch = image[rows, columns]
    if patch.size < 0.5 * (2 * half) ** 2 * 3 or not patch.size:
        return None
    red, green, blue = (int(value) for value in np.median(patch.reshape(-1, 3), axis=0))
    return red, green, blue


def _face_box(mesh_px: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
    x0, y0 = np.maximum(np.floor(mesh_px[:, :2].min(0)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(mesh_px[:, :2].max(0)).astype(int), (shape[1], shape[0]))
    return (int(x0), int(y0), int(x1), int(y1)) if x1 > x0 and y1 > y0 else None


def _alpha(
    made: Hand, anchor_px: np.ndarray, size: float, frame: FaceFrame, shape: tuple[int, ...], box: tuple[int, int, int, int]
) -> np.ndarray:
    """Silhouette inside a box of the picture, at most 64 pixels high and enlarged again: enough to measure coverage."""
    x0, y0, x1, y1 = box
    factor = max(1.0, (y1 - y0) / 64)
    small = (max(1, round((y1 - y0) / factor)), max(1, round((x1 - x0) / factor)))
    step = (y1 - y0) / small[0]
    part = _trace(made.grown(size), (x0 - anchor_px[0], y0 - anchor_px[1]), small, step, frame.px_per_cm, False)[0]
    out = np.zeros((shape[0], shape[1]), np.float32)
    out[y0:y1, x0:x1] = cv2.resize(part, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    return out


def _trace(
    made: Hand, corner_px: tuple[float, float], shape: tuple[int, int], step_px: float, px_per_cm: float, detail: bool
) -> tuple[np.ndarray, ...]:
    """Alpha, position, normal, openness, bone and place along it of a window whose corner lies there from the anchor."""
    h, w = shape
    full = (h, w) if detail else (1, 1)
    alpha = np.zeros((h, w), np.float32)
    out = (np.zeros((*full, 3)), np.zeros((*full, 3)), np.zeros(full), np.zeros(full, np.int64), np.zeros(full))
    bones = made.bones
    near, far = float(bones[:, [2, 6]].min()) - 8.0, float(bones[:, [2, 6]].max()) + 8.0
    step = step_px / px_per_cm
    start = (np.array(corner_px) / px_per_cm) + 0.5 * step
    draw_hand(bones, made.groups, start[0], start[1], step, near, far, alpha, *out, detail)
    return (alpha, *out)


def _extent(made: Hand, anchor_px: np.ndarray, px_per_cm: float, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Pixels x0, y0, x1, y1 of the picture that the hand may touch."""
    ends = np.concatenate([made.bones[:, 0:2], made.bones[:, 4:6]])
    room = float(made.bones[:, [3, 7]].max()) + 0.5
    low = np.clip(np.floor(anchor_px + (ends.min(0) - room) * px_per_cm), 0, (shape[1], shape[0])).astype(int)
    high = np.clip(np.ceil(anchor_px + (ends.max(0) + room) * px_per_cm), 0, (shape[1], shape[0])).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _paint(
    shape: tuple[int, ...], made: Hand, anchor_px: np.ndarray, size: float, scene: Scene, outfit: Outfit,
    rng: np.random.Generator, seed: int,
) -> Layer:  # fmt: skip
    """Trace, colour and shade the hand where it is in the picture."""
    grown = made.grown(size)
    h, w = shape[0], shape[1]
    px = scene.frame.px_per_cm
    alpha, colour = np.zeros((h, w), np.float32), np.zeros((h, w, 3), np.float32)
    x0, y0, x1, y1 = _extent(grown, anchor_px, px, (h, w))
    if x1 <= x0 or y1 <= y0:
        return Layer(colour, alpha)
    part, *maps = _trace(grown, (x0 - anchor_px[0], y0 - anchor_px[1]), (y1 - y0, x1 - x0), 1.0, px, True)
    alpha[y0:y1, x0:x1] = part
    ys, xs = np.nonzero(part)
    if len(ys):
        position, *rest = (m[ys, xs] for m in maps)
        surface = Surface(made, size, position / size, *rest)
        colour[ys + y0, xs + x0] = flesh_and_cloth(surface, scene, outfit, rng)
    shadow = contact_shadow(alpha, scene.light, 0.8 * px, 0.75)
    shadow = 1 - (1 - shadow) * on_head((h, w), scene.frame)
    return scene.finish(Layer(colour, alpha, shadow), seed)
