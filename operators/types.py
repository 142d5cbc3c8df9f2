"""The data that flows and every convention, written down once.

A row is one image from start to finish. A `Batch` holds rows and, flattened over all of them, their faces.

Images      RGB uint8 HWC. Tensors `faces 3 h w`, float32 in [0, 1].
Pixels      a pixel's centre lies at +0.5: the image spans [0, width] x [0, height].
Boxes       x0, y0, x1, y1 in float pixels of the full image (after EXIF orientation).
Landmarks   x, y in pixels of the full image; iBUG-68 order when 68, MediaPipe face-mesh order when 468 (with z, same
            scale as x and y, smaller = nearer to the camera).
Masks       bool, True = hole (the part to fill) or True = the named thing (occluder, visible face).
Crop        `crop_from_image` (2 x 3) maps full-image pixels to crop pixels, both with the +0.5 convention.

Camera and handedness (right-handed frames; distances in the basis's own unit):

      face frame                 camera frame               picture
          y up                      z away from the camera    +--> u
          |                        /                          |
          |                       +--> x right                v
          +--> x (viewer's        |
         /      right)            v y down
        z towards the camera

    v_camera = F (R v_face) + t,  F = diag(1, -1, -1),  R = Rz(roll) Ry(yaw) Rx(pitch)
    u = focal_px * X / Z + size / 2,   v = focal_px * Y / Z + size / 2      (crop pixels)

  R = identity looks straight into the camera. Positive yaw turns the nose to the viewer's right, positive pitch turns it
  down, positive roll tilts the head counter-clockwise as the viewer sees it (right-hand rule about y, x and z).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

OK = "ok"
NO_FACE = "no_face"
NOTHING_TO_FILL = "nothing_to_fill"
LOW_CONFIDENCE = "low_confidence"
REJECTED = "rejected"
FAILED = "failed"
STATUSES = (OK, NO_FACE, NOTHING_TO_FILL, LOW_CONFIDENCE, REJECTED, FAILED)


def option(default: Any, help: str) -> Any:
    """A config field with its default and the sentence that `--help` prints for it."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class OperatorConfig:
    """Base of every `XConfig`: frozen, and unknown keys are refused where a YAML is validated into it."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


@dataclass(frozen=True)
class OperatorInfo:
    """What a plan needs to know of an operator without building it.

    `reads` and `writes` are column names (see `operators.columns`); a plan drops columns that nothing later reads.
    `assets` are names resolved by the asset store before any worker starts.
    """

    name: str
    version: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    assets: tuple[str, ...] = ()
    wants_gpu: bool = False


@runtime_checkable
class Operator(Protocol):
    """A plain callable on a batch: rows in = rows out, in order. No I/O, no clock, no global random state."""

    info: ClassVar[OperatorInfo]

    def __call__(self, batch: Any) -> Any: ...


def row_seed(image_id: str, face_index: int, operator: OperatorInfo, config: object) -> int:
    """Seed in [0, 2^63) that depends only on the row, the face, the operator, its version and its config."""
    text = "\x1f".join((image_id, str(face_index), operator.name, operator.version, repr(config)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
