from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from operators.batch import Batch
from operators.faces.paste import FacePaster, FacePasterConfig, paste_face
from operators.images import decode_alpha, decode_rgb, encode
from operators.provenance import read_provenance
from operators.types import LOW_CONFIDENCE, NO_FACE, NOTHING_TO_FILL

SIZE = 64


def photo(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Noise on a gradient, so that any changed pixel shows."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(60, 160, width)[None, :, None] + np.linspace(0, 40, height)[:, None, None]
    return np.clip(ramp + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def similarity(scale: float, degrees: float, centre: tuple[float, float]) -> np.ndarray:
    """crop_from_image that puts `centre` of the photo into the middle of the crop."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    linear = np.array([[c, -s], [s, c]])
    return np.concatenate([linear, (SIZE / 2 - linear @ centre)[:, None]], 1).astype(np.float32)


def disc(radius: float = 20) -> np.ndarray:
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5 - SIZE / 2
    return x**2 + y**2 < radius**2


def footprint(matrix: np.ndarray, shape: tuple[int, int], radius: float) -> np.ndarray:
    """Photo pixels whose centre falls into the disc, worked out point by point."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] - SIZE / 2
    v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] - SIZE / 2
    return u**2 + v**2 < radius**2


def batch_of(image: bytes, faces: list[tuple[np.ndarray, tuple[int, int, int]]], rows: int = 1) -> Batch:
    batch = Batch.from_images([image] * rows)
    batch.set_faces(np.repeat(np.arange(rows), len(faces)))
    n = batch.n_faces
    batch.put("crop_from_image", np.stack([matrix for matrix, _ in faces] * rows))
    batch.put("hole", np.stack([disc()] * n))
    batch.put("inpainted", np.stack([np.full((SIZE, SIZE, 3), colour, np.uint8) for _, colour in faces] * rows))
    batch.put("visible_face", np.stack([~disc()] * n))
    return batch


@pytest.mark.parametrize("scale", [0.2, 0.5, 1.0, 1.7, 3.0])
@pytest.mark.parametrize(
    ("degrees", "centre"), [(0, (80, 60)), (33, (70, 50)), (-170, (3, 60)), (12, (155, 118)), (5, (400, 60))]
)
def test_pixels_outside_the_hole_stay_bit_for_bit(scale, degrees, centre):
    image = photo()
    matrix = similarity(scale, degrees, centre)
    result = image.copy()
    paste_face(result, np.full((SIZE, SIZE, 3), (255, 0, 255), np.uint8), disc(), matrix, ~disc(), seed=1)
    changed = (result != image).any(-1)
    assert not changed[~footprint(matrix, image.shape[:2], 21.0)].any()
    core = footprint(matrix, image.shape[:2], 16.0)
    assert changed[core].all()


def test_fill_lands_where_it_belongs():
    """A picture cropped with the same matrix and pasted back comes back where it was."""
    image = cv2.GaussianBlur(photo(), (0, 0), 3)
    matrix = similarity(0.9, 20, (80, 60))
    to_crop = matrix.astype(np.float64).copy()
    to_crop[:, 2] += to_crop[:, :2] @ [0.5, 0.5] - 0.5
    crop = cv2.warpAffine(image, to_crop, (SIZE, SIZE), flags=cv2.INTER_CUBIC)
    result = image.copy()
    paste_face(result, crop, disc(), matrix)
    assert np.abs(result.astype(int) - image).max() <= 2


def test_two_faces_in_one_photo_most_confident_on_top():
    image = photo()
    faces = [(similarity(1, 0, (60, 60)), (255, 0, 0)), (similarity(1, 0, (75, 60)), (0, 0, 255))]
    batch = FacePaster()(batch_of(encode(image), faces))
    result = decode_rgb(batch.rows["restored_bytes"][0])
    both = footprint(faces[0][0], image.shape[:2], 21) | footprint(faces[1][0], image.shape[:2], 21)
    assert np.array_equal(result[~both], image[~both])
    assert tuple(result[60, 67]) == (255, 0, 0) and tuple(result[60, 90]) == (0, 0, 255)


@pytest.mark.parametrize("format", ["png", "webp_lossless"])
def test_lossless_formats_keep_outside_pixels_of_a_jpeg_input(format):
    sink = io.BytesIO()
    Image.fromarray(photo()).save(sink, "JPEG", quality=80)
    matrix = similarity(0.6, 10, (80, 60))
    batch = FacePaster(FacePasterConfig(format=format))(batch_of(sink.getvalue(), [(matrix, (10, 200, 30))]))
    data = batch.rows["restored_bytes"][0]
    outside = ~footprint(matrix, (120, 160), 21)
    assert np.array_equal(decode_rgb(data)[outside], decode_rgb(sink.getvalue())[outside])
    assert read_provenance(data)["digital_source_type"] == "compositeWithTrainedAlgorithmicMedia"


def test_turned_photo_is_stored_upright():
    image = Image.fromarray(photo())
    exif = Image.Exif()
    exif[0x0112] = 6
    sink = io.BytesIO()
    image.save(sink, "PNG", exif=exif)
    data = FacePaster()(batch_of(sink.getvalue(), [(similarity(1, 0, (60, 80)), (1, 2, 3))])).rows["restored_bytes"][0]
    upright = np.rot90(photo(), -1)
    outside = ~footprint(similarity(1, 0, (60, 80)), upright.shape[:2], 21)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)))[outside], upright[outside])
    assert Image.open(io.BytesIO(data)).getexif().get(0x0112, 1) == 1


def test_alpha_is_kept():
    alpha = np.tile(np.arange(160, dtype=np.uint8), (120, 1))
    data = encode(photo(), alpha=alpha)
    batch = FacePaster()(batch_of(data, [(similarity(1, 0, (60, 60)), (255, 0, 0))]))
    kept = decode_alpha(batch.rows["restored_bytes"][0])
    assert kept is not None and np.array_equal(kept, alpha)


@pytest.mark.parametrize("write_unchanged", [False, True])
@pytest.mark.parametrize("status", [NO_FACE, NOTHING_TO_FILL, LOW_CONFIDENCE])
def test_untouched_photos_are_written_only_when_asked(write_unchanged, status):
    batch = batch_of(encode(photo()), [(similarity(1, 0, (60, 60)), (255, 0, 0))])
    batch.mark_row(0, status)
    data = FacePaster(FacePasterConfig(write_unchanged=write_unchanged))(batch).rows["restored_bytes"][0]
    if write_unchanged:
        assert np.array_equal(decode_rgb(data), photo()) and read_provenance(data) == {}
    else:
        assert data is None


def test_enlarged_fill_gets_the_grain_of_the_photo():
    image = photo(400, 400)
    matrix = similarity(0.2, 0, (200, 200))
    fill = np.full((SIZE, SIZE, 3), 120, np.uint8)
    plain, grainy = image.copy(), image.copy()
    paste_face(plain, fill, disc(), matrix, ~disc(), FacePasterConfig(grain=0.0), seed=5)
    paste_face(grainy, fill, disc(), matrix, ~disc(), FacePasterConfig(grain=1.0), seed=5)
    core = np.s_[150:250, 150:250]
    photo_grain = np.diff(image[core].astype(float), axis=1).std()
    assert np.diff(plain[core].astype(float), axis=1).std() < 0.05 * photo_grain
    assert np.diff(grainy[core].astype(float), axis=1).std() == pytest.approx(photo_grain, rel=0.4)


def test_same_row_same_bytes():
    faces = [(similarity(0.4, 7, (60, 60)), (200, 150, 120))]
    first = FacePaster()(batch_of(encode(photo()), faces, rows=3)).rows["restored_bytes"]
    again = FacePaster()(batch_of(encode(photo()), faces, rows=3).take([1])).rows["restored_bytes"]
    assert first[1] == again[0]
