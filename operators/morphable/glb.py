"""Meshes as .glb files: glTF 2.0 in its binary form (Khronos Group, ISO/IEC 12113), one file with everything inside."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

from operators.images import encode
from operators.morphable.basis import FaceBasis
from operators.morphable.export import ExportedFace, Welded
from operators.provenance import NEWSCODES, SourceType, xmp_packet

METRES = {"m": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "um": 1e-6}
"""Length of a basis's unit: glTF knows metres only."""

_SOURCE: SourceType = "compositeWithTrainedAlgorithmicMedia"
_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_ARRAY, _ELEMENTS = 34962, 34963
_LINEAR, _MIPMAPS, _CLAMP = 9729, 9987, 33071


class GlbWriter:
    """Metres, y up, z towards the viewer, right-handed. The light is in the texture: the material is unlit where a viewer knows
    KHR_materials_unlit, else matte. The texture is a JPEG of quality 95 that carries the provenance mark.

    Errors: ValueError for a basis whose unit is not known.
    """

    def __init__(self, basis: FaceBasis, quality: int = 95):
        if basis.unit not in METRES:
            raise ValueError(f"basis {basis.name!r} is in {basis.unit!r}: expected one of {', '.join(METRES)}")
        self._scale, self._quality = METRES[basis.unit], quality
        self._mesh = Welded.of(basis)
        self._xmp = xmp_packet(_SOURCE)
        count, index = len(self._mesh.vertex), "<u2" if len(self._mesh.vertex) < 65535 else "<u4"
        shared = [self._mesh.triangles.astype(index).tobytes(), basis.uv[self._mesh.uv].astype("<f4").tobytes()]
        self._shared = b"".join(map(_padded, shared))
        self._indices = _USHORT if index == "<u2" else _UINT
        places = 12 * count
        offsets = np.cumsum([0, len(_padded(shared[0])), len(_padded(shared[1])), places, places]).tolist()
        lengths, targets = (len(shared[0]), len(shared[1]), places, places), (_ELEMENTS, _ARRAY, _ARRAY, _ARRAY)
        self._views = [
            {"buffer": 0, "byteOffset": offset, "byteLength": length, "target": target}
            for offset, length, target in zip(offsets, lengths, targets, strict=False)
        ]
        self._image_at = offsets[-1]

    def __call__(self, face: ExportedFace) -> bytes:
        places = (face.vertices[self._mesh.vertex] * self._scale).astype("<f4")
        normals = face.normals[self._mesh.vertex].astype("<f4")
        normals[np.abs(np.linalg.norm(normals, axis=1) - 1) > 1e-3] = (0, 0, 1)
        image = encode(face.texture, "JPEG", quality=self._quality, xmp=self._xmp)
        binary = _padded(b"".join((self._shared, places.tobytes(), normals.tobytes(), image)))
        text = json.dumps(self._document(places, len(image), len(binary)), separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(binary))
        return b"".join((head, struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(binary), b"BIN\0"), binary))

    def _document(self, places: np.ndarray, image_bytes: int, buffer_bytes: int) -> dict[str, Any]:
        points = len(places)
        return {
            "asset": {"version": "2.0", "generator": "unmask", "extras": {"DigitalSourceType": NEWSCODES + _SOURCE}},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "name": "face"}],
            "meshes": [
                {
                    "name": "face",
                    "primitives": [
                        {"attributes": {"POSITION": 2, "NORMAL": 3, "TEXCOORD_0": 1}, "indices": 0, "material": 0, "mode": 4}
                    ],
                }
            ],
            "materials": [
                {
                    "name": "face",
                    "pbrMetallicRoughness": {"baseColorTexture": {"index": 0}, "metallicFactor": 0, "roughnessFactor": 1},
                    "extensions": {"KHR_materials_unlit": {}},
                }
            ],
            "textures": [{"sampler": 0, "source": 0}],
            "samplers": [{"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP}],
            "images": [{"bufferView": 4, "mimeType": "image/jpeg", "name": "face"}],
            "accessors": [
                {"bufferView": 0, "componentType": self._indices, "count": self._mesh.triangles.size, "type": "SCALAR"},
                {"bufferView": 1, "componentType": _FLOAT, "count": points, "type": "VEC2"},
                {
                    **{"bufferView": 2, "componentType": _FLOAT, "count": points, "type": "VEC3"},
                    **{"min": places.min(0).tolist(), "max": places.max(0).tolist()},
                },
                {"bufferView": 3, "componentType": _FLOAT, "count": points, "type": "VEC3"},
            ],
            "bufferViews": [*self._views, {"buffer": 0, "byteOffset": self._image_at, "byteLength": image_bytes}],
            "buffers": [{"byteLength": buffer_bytes}],
        }


def _padded(data: bytes) -> bytes:
    """Filled with zeros to a multiple of four bytes."""
    return data + b"\0" * (-len(data) % 4)
