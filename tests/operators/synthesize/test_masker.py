import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from operators.batch import Batch
from operators.codec import decode_rgb, encode
from operators.faces.aligner import FaceAligner
from operators.faces.ibug68 import ibug68_from_mesh
from operators.images import ImageDecoder
from operators.morphable.bases import load_basis
from operators.morphable.fitter import MorphableFitter, MorphableFitterConfig
from operators.portrait import PortraitMaker
from operators.provenance import read_provenance
from operators.synthesize.masker import FaceMasker, TemplateMaskerConfig, WornMaskerConfig
from operators.synthesize.outfits import OutfitError, parse_outfits
from operators.synthesize.template_masks import masked_by_template
from operators.synthesize.templates import template_set
from operators.types import LOW_CONFIDENCE, NO_FACE, OK

SIZE = 144
ANYTHING = ("rectangle-noise", "strokes", "sunglasses", "scarf-rib", "scarf-flowers", "none")


@pytest.fixture(scope="module")
def people():
    make = PortraitMaker(load_basis("open_face"), size=SIZE, texture_px=96)
    return [make(seed) for seed in (3, 4, 8)]


def batch_of(pictures, meshes, encoded=None, **columns) -> Batch:
    """Decoded rows whose faces are already found: one list of meshes per picture."""
    batch = Batch.from_images(encoded or [encode(p, "PNG") for p in pictures], **columns)
    batch.rows["subject"] = [f"who is {key}" for key in batch.rows["key"]]
    batch = ImageDecoder()(batch)
    batch.set_faces(np.repeat(np.arange(len(meshes)), [len(m) for m in meshes]))
    mesh = np.array([face for faces in meshes for face in faces], np.float32).reshape(-1, 468, 3)
    batch.put("landmarks468_px", mesh)
    batch.put("landmarks68_px", ibug68_from_mesh(mesh)[..., :2])
    batch.put("box_xyxy_px", np.concatenate([mesh[..., :2].min(1), mesh[..., :2].max(1)], 1))
    return batch


def portraits(people, order=(0, 1, 2)) -> Batch:
    names = [f"p{i}" for i in order]
    return batch_of([people[i].image for i in order], [[people[i].landmarks_px] for i in order], keys=names)


def masker(**settings_) -> FaceMasker:
    """With fixed templates of none: the occluders need neither a fit nor pictures."""
    return FaceMasker(WornMaskerConfig(**{"outfits": ANYTHING, **settings_}))


def grey(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"))


def assert_sample(files: dict[str, bytes], truth: np.ndarray, suffix: str = "png") -> dict:
    assert set(files) == {suffix, "mask.png", "alpha.png", f"truth.{suffix}", "json"}
    masked, original = decode_rgb(files[suffix]), decode_rgb(files[f"truth.{suffix}"])
    hole, alpha = grey(files["mask.png"]), grey(files["alpha.png"])
    np.testing.assert_array_equal(original, truth)
    assert set(np.unique(hole)) <= {0, 255} and hole.shape == alpha.shape == truth.shape[:2]
    np.testing.assert_array_equal(masked[hole == 0], truth[hole == 0])
    assert not alpha[hole == 0].any()
    return json.loads(files["json"])


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**31), order=st.permutations([0, 1, 2]), size=st.integers(1, 3))
def test_the_same_bytes_in_any_company(people, seed, order, size):
    operator = masker(seed=seed)
    whole = operator(portraits(people))
    files = dict(zip(whole.rows["key"], whole.rows["sample_bytes"], strict=True))
    for start in range(0, 3, size):
        some = operator(portraits(people, order[start : start + size]))
        for key, sample in zip(some.rows["key"], some.rows["sample_bytes"], strict=True):
            assert sample == files[key]
    for i in range(3):
        about = assert_sample(whole.rows["sample_bytes"][i], people[i].image)
        hole = grey(whole.rows["sample_bytes"][i]["mask.png"]) > 0
        assert whole.rows["hole_fraction"][i] == np.float32(hole.mean())
        assert hole.any() == (about["faces"][0]["type"] != "none")


def test_what_was_done_is_written_down(people):
    batch = portraits(people)
    batch.rows["meta_json"] = ['{"age": 40}', "not json", ""]
    out = masker(outfits=("scarf-#20a040",), seed=5)(batch)
    for i, files in enumerate(out.rows["sample_bytes"]):
        about = json.loads(files["json"])
        (face,) = about["faces"]
        assert face["type"] == out.faces["mask_type"][i] == "scarf"
        assert face["colour"] == out.faces["mask_colour"][i] == "#20a040"
        assert face["seed"] == out.faces["mask_seed"][i] and face["texture"] == out.faces["mask_texture"][i] == ""
        np.testing.assert_allclose(face["points_px"], out.faces["mask_points_px"][i], rtol=1e-4)
        np.testing.assert_allclose(face["landmarks468_px"], out.faces["landmarks468_px"][i], rtol=1e-5, atol=1e-4)
        assert face["angle_deg"] == pytest.approx(out.faces["mask_angle_deg"][i], rel=1e-4)
        assert face["coverage"] == pytest.approx(about["coverage"]) == pytest.approx(out.faces["mask_coverage"][i], rel=1e-5)
        assert 0.05 < face["coverage"] < 0.9
        assert about["subject"] == f"who is p{i}" and about["width_px"] == SIZE
        assert read_provenance(files["png"])["digital_source_type"] == "compositeSynthetic"
        assert not read_provenance(files["truth.png"])
    assert [json.loads(files["json"])["meta"] for files in out.rows["sample_bytes"]] == [{"age": 40}, "not json", None]


def test_nothing_put_on_is_a_sample_without_a_hole(people):
    for settings_ in ({"outfits": ("none",)}, {"outfits": ("scarf",), "face_share": 0.0}):
        out = masker(**settings_)(portraits(people, [0]))
        files = out.rows["sample_bytes"][0]
        about = assert_sample(files, people[0].image)
        assert not grey(files["mask.png"]).any() and files["png"] == files["truth.png"]
        assert out.faces["mask_type"][0] == "" and about["faces"][0]["type"] == "none" and out.rows["hole_fraction"][0] == 0


def test_rows_without_a_face_and_faces_that_stopped(people):
    batch = batch_of([people[0].image] * 3, [[], [people[0].landmarks_px] * 2, [people[0].landmarks_px]])
    batch.mark_row(0, NO_FACE, "FaceDetector", "NoFace", "nobody")
    batch.mark_face(0, LOW_CONFIDENCE, "turned too far")
    batch.mark_face(2, LOW_CONFIDENCE, "too dark")
    out = masker(outfits=("strokes",))(batch)
    assert list(out.rows["status"]) == [NO_FACE, OK, OK]
    assert [files is None for files in out.rows["sample_bytes"]] == [True, False, True]
    assert list(out.faces["mask_type"]) == ["", "strokes", ""]
    assert np.isnan(out.faces["mask_coverage"][[0, 2]]).all()
    assert list(out.faces["face_message"]) == ["turned too far", "", "too dark"]
    stopped, masked = json.loads(out.rows["sample_bytes"][1]["json"])["faces"]
    assert stopped["face_message"] == "turned too far" and "type" not in stopped and masked["type"] == "strokes"


def test_a_face_without_landmarks_and_a_batch_without_faces(people):
    batch = batch_of([people[0].image], [[people[0].landmarks_px * np.float32(np.nan)]])
    out = masker(outfits=("hand",))(batch)
    assert_sample(out.rows["sample_bytes"][0], people[0].image)
    assert out.faces["mask_type"][0] == "" and np.isnan(out.faces["mask_coverage"][0])
    assert masker()(batch_of([people[0].image], [[]])).rows["sample_bytes"] == [None]


def two_faces(people) -> Batch:
    """A small face on the left, most confident, and a large one on the right that overlaps it."""
    picture = np.concatenate([people[0].image, people[1].image], 1)
    small = people[0].landmarks_px * np.float32(0.6) + np.array([50, 40, 0], np.float32)
    return batch_of([picture], [[small, people[1].landmarks_px + np.array([SIZE * 0.4, 0, 0], np.float32)]])


def test_several_faces_of_a_picture(people):
    every = masker(outfits=("rectangle",))(two_faces(people))
    assert list(every.faces["mask_type"]) == ["rectangle"] * 2
    assert every.faces["mask_seed"][0] != every.faces["mask_seed"][1]
    about = assert_sample(every.rows["sample_bytes"][0], two_faces(people).frame(0))
    assert [face["face_index"] for face in about["faces"]] == [0, 1]
    assert list(masker(outfits=("scarf",), faces="largest")(two_faces(people)).faces["mask_type"]) == ["", "scarf"]
    assert list(masker(outfits=("scarf",), faces="most_confident")(two_faces(people)).faces["mask_type"]) == ["scarf", ""]


def test_the_nearest_face_is_in_front(people):
    batch = two_faces(people)
    near = batch_of([batch.frame(0)], [[batch.faces["landmarks468_px"][1]]])
    settings_ = {"outfits": ("rectangle",), "coverage": (0.8, 0.9), "seed": 2}
    both = masker(**settings_)(batch)
    mesh = batch.faces["landmarks468_px"]
    assert mesh[1, :, 0].min() < mesh[0, :, 0].max()
    alone = FaceMasker(WornMaskerConfig(**settings_))
    near.faces["face_index"] = np.array([1], np.int32)
    near.rows["image_id"] = list(batch.rows["image_id"])
    front = alone(near).rows["sample_bytes"][0]
    solid = grey(front["alpha.png"]) == 255
    assert solid.any()
    np.testing.assert_array_equal(decode_rgb(both.rows["sample_bytes"][0]["png"])[solid], decode_rgb(front["png"])[solid])


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA"])
def test_grey_and_transparent_pictures(people, mode):
    sink = io.BytesIO()
    Image.fromarray(people[0].image).convert(mode).save(sink, "PNG")
    batch = batch_of([people[0].image], [[people[0].landmarks_px]], encoded=[sink.getvalue()])
    out = masker(outfits=("sunglasses",))(batch)
    assert_sample(out.rows["sample_bytes"][0], batch.frame(0))


def test_turned_by_exif_the_truth_is_upright(people):
    sink, exif = io.BytesIO(), Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(people[0].image, 1).copy()).save(sink, "PNG", exif=exif)
    batch = batch_of([people[0].image], [[people[0].landmarks_px]], encoded=[sink.getvalue()])
    out = masker(outfits=("scarf",))(batch)
    assert_sample(out.rows["sample_bytes"][0], people[0].image)


@pytest.mark.parametrize(("format", "suffix"), [("webp", "webp"), ("jpeg", "jpg")])
def test_formats_show_the_same_mask(people, format, suffix):
    png = masker(outfits=("scarf",))(portraits(people, [1])).rows["sample_bytes"][0]
    other = masker(outfits=("scarf",), format=format)(portraits(people, [1])).rows["sample_bytes"][0]
    assert other["mask.png"] == png["mask.png"] and other["alpha.png"] == png["alpha.png"]
    difference = np.abs(decode_rgb(other[suffix]).astype(int) - decode_rgb(png["png"]))
    assert difference.max() == 0 if format == "webp" else 0 < difference.mean() < 4


def test_run_seeds_differ_and_shares_hold(people):
    seeds = {masker(outfits=("none",), seed=s)(portraits(people, [0])).faces["mask_seed"][0] for s in range(3)}
    assert len(seeds) == 3
    small = people[0].image[40:80, 40:80]
    crowd = batch_of([small] * 60, [[people[0].landmarks_px * np.float32(0.27)]] * 60)
    kinds = list(masker(outfits=("rectangle*3", "none*1"))(crowd).faces["mask_type"])
    assert 33 < kinds.count("rectangle") < 57
    half = list(masker(outfits=("rectangle",), face_share=0.5)(crowd).faces["mask_type"])
    assert 16 < half.count("rectangle") < 44


def test_coverage_is_aimed_for_and_reported(people):
    out = masker(outfits=("scarf", "strokes", "rectangle"), coverage=(0.2, 0.3))(portraits(people))
    assert (out.faces["mask_coverage"] >= 0.19).all() and (out.faces["mask_coverage"] <= 0.31).all()


def test_shadows_can_be_left_out(people):
    lit, plain = (masker(outfits=("sunglasses",), shadow=s)(portraits(people, [0])).rows["sample_bytes"][0] for s in (1.0, 0.0))
    assert lit["alpha.png"] == plain["alpha.png"]
    assert grey(plain["mask.png"]).sum() < grey(lit["mask.png"]).sum()
    np.testing.assert_array_equal(grey(plain["mask.png"]) > 0, grey(plain["alpha.png"]) > 0)


def test_wrong_settings_say_what_is_right():
    with pytest.raises(OutfitError, match="surgical"):
        masker(outfits=("surgicel",))
    with pytest.raises(ValueError, match="rib"):
        masker(outfits=("scarf-wool.png",))
    with pytest.raises(ValueError, match="none"):
        masker(outfits=("hand-dots",))
    with pytest.raises(ValueError, match="low <= high"):
        masker(coverage=(0.3, 0.2))
    with pytest.raises(ValueError, match="face_share"):
        masker(face_share=2.0)


def test_worn_masks_need_a_fit(people):
    with pytest.raises(KeyError, match="MorphableFitter"):
        masker(outfits=("n95",))(portraits(people, [0]))


def fitted(people) -> Batch:
    batch = FaceAligner()(portraits(people, [1]))
    crop = batch.faces["crop"].shape[:3]
    batch.put("occluder", np.zeros(crop, bool))
    batch.put("visible_face", np.ones(crop, bool))
    return MorphableFitter(MorphableFitterConfig())(batch)


def test_worn_masks_lie_on_the_fitted_face(people):
    batch = fitted(people)
    for outfit in ("surgical_blue", "inpaint"):
        out = masker(outfits=(outfit,))(batch.copy())
        about = assert_sample(out.rows["sample_bytes"][0], people[1].image)
        (face,) = about["faces"]
        assert face["type"] == outfit and 0.3 < face["coverage"] < 0.75
        assert len(face["identity"]) == batch.faces["identity"].shape[1] and len(face["rotation_deg"]) == 3
        alpha = grey(out.rows["sample_bytes"][0]["alpha.png"])
        x, y = np.floor(people[1].landmarks_px[[13, 4, 159, 386], :2]).astype(int).T
        assert list(alpha[y, x] > 127) == [True, True, False, False]


def template_folder(path):
    """One drawn mask in MaskTheFace's format."""
    picture = np.zeros((90, 120, 4), np.uint8)
    picture[5:85, 10:110] = (90, 160, 200, 255)
    Image.fromarray(picture).save(path / "mask.png")
    points = {"a": (10, 12), "b": (60, 5), "c": (110, 12), "d": (25, 70), "e": (60, 85), "f": (95, 70)}
    lines = ["[surgical_blue]", "template = mask.png", *(f"mask_{k} = {x}, {y}" for k, (x, y) in points.items())]
    (path / "masks.cfg").write_text("\n".join(lines) + "\n")
    return str(path)


def test_masks_from_templates(people, tmp_path):
    folder = template_folder(tmp_path)
    usual = FaceMasker(TemplateMaskerConfig(templates=folder, outfits=("surgical_blue", "inpaint")))(portraits(people))
    assert (usual.faces["mask_coverage"] > 0.3).all()
    for i in range(3):
        assert_sample(usual.rows["sample_bytes"][i], people[i].image)
    for target in ((0.15, 0.25), (0.6, 0.7)):
        out = FaceMasker(TemplateMaskerConfig(templates=folder, outfits=("surgical_blue",), coverage=target))(portraits(people))
        assert (out.faces["mask_coverage"] > target[0] - 0.01).all() and (out.faces["mask_coverage"] < target[1] + 0.01).all()


def test_the_official_blend_is_the_one_of_the_templates(people):
    masked = FaceMasker(TemplateMaskerConfig(outfits=("surgical",), blend="official"))(portraits(people))
    templates = template_set("")
    for i, files in enumerate(masked.rows["sample_bytes"]):
        seed, points = int(masked.faces["mask_seed"][i]), masked.faces["landmarks68_px"][i].astype(np.float64)
        outfit = parse_outfits(("surgical",))[0].outfit
        whole = masked_by_template(people[i].image, points, outfit, templates, seed, "official")
        assert np.abs(decode_rgb(files["png"]).astype(int) - whole.image).max() <= 1
        assert_sample(files, people[i].image)
    with pytest.raises(ValueError, match="coverage"):
        TemplateMaskerConfig(blend="official", coverage=(0.2, 0.3))
