"""LPIPS, Inception features and identity as operators, with formula weights and without any."""

import numpy as np
import pytest
from PIL import Image

from operators.assets import AssetStore
from operators.batch import Batch
from operators.metrics.features import FeatureExtractor
from operators.metrics.identity import RECOGNIZERS, IdentityEmbedder, IdentityEmbedderConfig, face_chip, five_points
from operators.metrics.perceptual import PerceptualMeasurer, PerceptualMeasurerConfig
from operators.types import FAILED, OK
from tests.operators.metrics.published import published
from tests.operators.metrics.shelf import with_alexnet, with_dlib, with_inception
from tests.operators.metrics.test_measurer import batch, hole, picture, png


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory) -> AssetStore:
    return with_alexnet(tmp_path_factory.mktemp("alexnet"))


@pytest.fixture(scope="module")
def dlib(tmp_path_factory) -> AssetStore:
    return with_dlib(tmp_path_factory.mktemp("dlib"))


def smooth(seed: int, side: int = 160) -> np.ndarray:
    y, x = np.mgrid[:side, :side] / side
    rng = np.random.default_rng(seed)
    waves = [sum(np.sin(2 * np.pi * (rng.uniform(1, 6) * x + rng.uniform(1, 6) * y)) for _ in range(4)) for _ in range(3)]
    return np.clip(127 + 30 * np.stack(waves, -1), 0, 255).astype(np.uint8)


def face(shift: float = 0.0) -> np.ndarray:
    """68 landmarks of an upright face, shifted to the right."""
    points = np.random.default_rng(0).uniform(60, 100, (68, 2))
    lid = np.array([[-8.0, 0], [-4, -2], [4, -2], [8, 0], [4, 2], [-4, 2]])
    points[36:42], points[42:48] = lid + np.array([60.0, 70.0]), lid + np.array([100.0, 70.0])
    points[30], points[33], points[48], points[54] = (80, 88), (80, 94), (65, 110), (95, 110)
    return points + np.array([shift, 0.0])


def with_faces(images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> Batch:
    out = Batch.from_images([png(image) for image in images])
    rows = [i for i, points in enumerate(landmarks) if points is not None]
    out.set_faces(np.array(rows))
    out.put("landmarks68_px", np.stack([points for points in landmarks if points is not None]))
    return out


@pytest.mark.parametrize(
    ("operator", "missing"),
    [
        (PerceptualMeasurer, "explain lpips_alex"),
        (FeatureExtractor, "explain fid_inception"),
        (IdentityEmbedder, "fetch dlib_resnet"),
    ],
)
def test_without_weights_all_is_nan_and_there_is_a_sentence(operator, missing, tmp_path):
    store = AssetStore(tmp_path)
    config = operator().config
    (sentence,) = operator.unavailable(config, store)
    assert sentence == f"weights not available: {missing.split()[1]} (`python -m jobs.assets {missing}`)"
    out = operator(config, assets=store)(batch([picture()], [picture()], [hole()]))
    assert out.rows["status"] == [OK]
    for name in operator.info.writes:
        assert np.isnan(out.rows[name]).all() and len(out.rows[name]) == 1


def test_lpips_of_regions(alexnet):
    assert PerceptualMeasurer.unavailable(PerceptualMeasurerConfig(), alexnet) == ()
    operator = PerceptualMeasurer(PerceptualMeasurerConfig(composite=True), assets=alexnet)
    truths = [smooth(k) for k in range(3)]
    spots = [np.zeros((160, 160), bool) for _ in range(3)]
    spots[0][60:100, 60:100] = spots[1][60:100, 60:100] = True
    out = operator(batch([smooth(7), truths[1], smooth(8)], truths, [*spots[:2], None]))
    image, inside, rim = (out.rows[f"lpips_{region}"] for region in ("image", "hole", "rim"))
    assert inside[0] > image[0] > 0 and inside[0] > rim[0] > 0
    assert (image[1], inside[1], rim[1]) == (0, 0, 0)
    assert image[2] > 0 and np.isnan(inside[2]) and np.isnan(rim[2])
    alone = operator(batch([smooth(8)], truths[2:], [None]))
    assert alone.rows["lpips_image"][0] == image[2]


def test_lpips_of_a_tiny_picture_is_not_measured(alexnet):
    out = PerceptualMeasurer(assets=alexnet)(batch([picture(0, 24)], [picture(1, 24)], [hole(24)]))
    assert out.rows["status"] == [OK] and np.isnan(out.rows["lpips_image"][0])


def test_features_of_a_picture(tmp_path):
    operator = FeatureExtractor(assets=with_inception(tmp_path))
    out = operator(Batch.from_images([b"no image", png(published()["fid_img_u8"][0])]))
    known = published()["fid_features"][0]
    assert np.abs(out.rows["inception_features"][1] - known).max() < 1e-4 * known.std()
    assert out.rows["status"] == [FAILED, OK] and np.isnan(out.rows["inception_features"][0]).all()


def test_embeddings_follow_the_face_not_the_picture(dlib):
    operator = IdentityEmbedder(assets=dlib)
    images = [smooth(1, 200), np.roll(smooth(1, 200), 12, axis=1), smooth(2, 200), smooth(3, 200)]
    out = operator(with_faces(images, [face(), face(12.0), face(), None])).rows["identity_embedding"]
    np.testing.assert_allclose(np.linalg.norm(out[:3], axis=1), 1, rtol=1e-6)
    assert np.isnan(out[3]).all()
    assert np.abs(out[0] - out[1]).max() < 1e-5 < 1e-4 < np.abs(out[0] - out[2]).max()
    alone = operator(with_faces(images[2:3], [face()])).rows["identity_embedding"]
    np.testing.assert_array_equal(alone[0], out[2])


def test_the_chosen_face_comes_first(dlib):
    chosen = with_faces([smooth(1, 200)] * 2, [face(), face()])
    chosen.put_row("result_landmarks68_px", np.stack([face(12.0), np.full((68, 2), np.nan)]))
    out = IdentityEmbedder(assets=dlib)(chosen).rows["identity_embedding"]
    np.testing.assert_array_equal(
        out[0], IdentityEmbedder(assets=dlib)(with_faces([smooth(1, 200)], [face(12.0)])).rows["identity_embedding"][0]
    )
    assert np.isnan(out[1]).all()


@pytest.mark.parametrize("kind", ["dlib_resnet", "arcface_r50"])
def test_a_face_is_cut_out_where_the_network_expects_it(kind):
    marks = five_points(face(), kind)
    image = np.zeros((200, 200, 3), np.uint8)
    for x, y in marks.astype(int):
        image[y - 1 : y + 2, x - 1 : x + 2] = 255
    chip = face_chip(image, face(), kind)[..., 0].astype(float)
    side = RECOGNIZERS[kind].side
    assert chip.shape == (side, side)
    for x, y in RECOGNIZERS[kind].points:
        near = chip[max(int(y) - 9, 0) : int(y) + 10, max(int(x) - 9, 0) : int(x) + 10]
        assert near.max() > 100
    assert IdentityEmbedderConfig(kind=kind).weights == (kind,)


def test_dlibs_weights_know_a_person_again():
    from matplotlib.cbook import get_sample_data
    from skimage.data import astronaut

    store = AssetStore()
    if not store.has("dlib_resnet"):
        pytest.skip("dlib_resnet is missing: `python -m jobs.assets fetch dlib_resnet`")
    from jobs.assets import ensure
    from operators.faces.detector import FaceDetector
    from operators.faces.landmarker import FaceLandmarker

    ensure((*FaceDetector.info.assets, *FaceLandmarker.info.assets), store)
    photo = astronaut()
    dim = (photo[80:, 60:400] * 0.8).astype(np.uint8)
    somebody_else = np.asarray(Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    images = [photo, dim[:, ::-1], somebody_else]
    found = Batch.from_images([png(image) for image in images])
    for operator in (FaceDetector(assets=store), FaceLandmarker(assets=store), IdentityEmbedder(assets=store)):
        found = operator(found)
    herself, mirrored, other = found.rows["identity_embedding"]
    assert herself @ mirrored > 0.96 > 0.92 > herself @ other
