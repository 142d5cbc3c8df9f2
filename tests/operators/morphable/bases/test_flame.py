"""FLAME: read without running its pickle, its jaw as linear modes, its landmarks and textures where given."""

import os
import shutil

import numpy as np
import pytest

from operators.morphable.bases.convert import convert
from operators.morphable.bases.flame import JAW_STD_RAD, OPEN_LICENCE, jaw_modes
from operators.morphable.basis import REGIONS, BasisError
from tests.operators.morphable.bases import stand_ins
from tests.operators.morphable.bases.stand_ins import FLAME_VERTICES


@pytest.fixture(scope="module")
def basis(flame):
    return convert("flame2020", [flame[0]])[0]


def skinned(arrays, jaw: np.ndarray) -> np.ndarray:
    """Linear blend skinning with pose correctives, only the jaw turned (axis-angle, radians)."""
    angle = np.linalg.norm(jaw)
    k = np.array([[0, -jaw[2], jaw[1]], [jaw[2], 0, -jaw[0]], [-jaw[1], jaw[0], 0]]) / angle
    rotation = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    feature = np.zeros(36)
    feature[9:18] = (rotation - np.eye(3)).ravel()
    v = arrays["v_template"] + arrays["posedirs"] @ feature
    joint = arrays["J_regressor"][2] @ arrays["v_template"]
    w = arrays["weights"][:, 2:3]
    return v + w * ((v - joint) @ rotation.T + joint - v)


def test_modes_are_the_files_own_and_the_jaw_follows(flame, basis):
    arrays = flame[1]
    assert basis.mean.shape == (FLAME_VERTICES, 3) and basis.unit == "m" and basis.native is not None
    assert len(basis.identity) == 100 and len(basis.expression) == 53
    assert np.allclose(basis.identity, arrays["shapedirs"][:, :, :100].transpose(2, 0, 1), atol=1e-8)
    assert np.allclose(basis.expression[:50], arrays["shapedirs"][:, :, 300:350].transpose(2, 0, 1), atol=1e-8)
    assert basis.native.expression_scale[-3:] == pytest.approx(JAW_STD_RAD)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_jaw_mode_is_the_derivative_of_skinning(flame, axis):
    arrays, turn = flame[1], 1e-4
    step = np.eye(3)[axis] * turn
    slope = (skinned(arrays, step) - skinned(arrays, -step)) / (2 * turn)
    assert np.abs(jaw_modes(arrays)[axis] - slope).max() < 1e-7


def test_opening_the_jaw_lowers_the_chin(flame, basis):
    chin = basis.landmarks68[8, 0]
    official = basis.native.from_official("expression", np.concatenate((np.zeros(50), [0.3, 0, 0])).astype(np.float32))
    moved = basis.mean + np.einsum("k,kvc->vc", official, basis.expression)
    assert moved[chin, 1] < basis.mean[chin, 1] - 0.005
    assert np.abs(moved - skinned(flame[1], np.array([0.3, 0, 0]))).max() < 0.006, "metres, at 17 degrees"


def test_all_modes_when_asked(flame):
    whole, _ = convert("flame2020", [flame[0]], modes=(300, 100, 10))
    assert len(whole.identity) == 300 and len(whole.expression) == 103


def test_landmarks_are_anchored_in_triangles(basis):
    assert basis.anchors68.vertices.shape == (68, 3)
    truth = stand_ins.sheet(FLAME_VERTICES).mesh / 100
    distance = np.linalg.norm(basis.anchors468.at(basis.mean) - truth, axis=1)
    assert distance.mean() < 0.001, "metres"
    corner = np.linalg.norm(basis.mean[basis.landmarks468] - truth, axis=1)
    assert distance.mean() < 0.75 * corner.mean(), "anchors beat vertices on a coarse mesh"


def test_static_and_dynamic_embeddings(flame, basis, tmp_path):
    folder, arrays = flame
    shutil.copy(folder / "generic_model.pkl", tmp_path / "generic_model.pkl")
    triangles = {tuple(sorted(t)): k for k, t in enumerate(arrays["f"].tolist())}
    index = np.array([triangles[tuple(sorted(t))] for t in basis.anchors68.vertices.tolist()])
    weights = np.full((68, 3), 1 / 3)
    stand_ins.write_pickle(tmp_path / "flame_static_embedding.pkl", {"lmk_face_idx": index[17:], "lmk_b_coords": weights[17:]})
    with pytest.raises(BasisError, match=r"flame_dynamic_embedding.npy is missing"):
        convert("flame2020", [tmp_path])
    dynamic = {"lmk_face_idx": np.tile(index[:17], (79, 1)), "lmk_b_coords": np.tile(weights[:17], (79, 1, 1))}
    np.save(tmp_path / "flame_dynamic_embedding.npy", np.array(dynamic, dtype=object), allow_pickle=True)
    other, used = convert("flame2020", [tmp_path])
    assert len(used) == 3
    assert np.allclose(other.anchors68.at(other.mean), basis.anchors68.at(basis.mean), atol=1e-6)


def test_mediapipe_embedding_alone_is_enough(flame, tmp_path):
    from operators.segment.regions import LEFT_BROW, LEFT_EYE, RIGHT_BROW, RIGHT_EYE

    folder, arrays = flame
    shutil.copy(folder / "generic_model.pkl", tmp_path / "flame2023_Open.pkl")
    chosen = np.array(sorted({*LEFT_BROW, *LEFT_EYE, *RIGHT_BROW, *RIGHT_EYE, 61, 291, 0, 17, 1, 2, 98, 327, 13, 14}))
    truth = stand_ins.sheet(FLAME_VERTICES).mesh / 100
    index, weights = stand_ins.flame_embedding(arrays, truth[chosen])
    np.savez(tmp_path / "mediapipe_landmark_embedding.npz", lmk_face_idx=index, lmk_b_coords=weights, landmark_indices=chosen)
    other, _ = convert("flame2023", [tmp_path])
    assert other.licence == OPEN_LICENCE
    assert np.array_equal(other.anchors468.vertices[chosen], arrays["f"][index])
    assert np.linalg.norm(other.anchors468.at(other.mean) - truth, axis=1).mean() < 0.002
    assert np.linalg.norm(other.anchors68.at(other.mean)[36:48] - truth[np.array(stand_ins.VERTICES)].mean(1)[36:48]).max() < 0.01


def test_masks_name_the_regions(flame, tmp_path):
    folder, arrays = flame
    order = np.argsort(arrays["v_template"][:, 1])
    masks = {"neck": order[:200], "scalp": order[-150:], "left_ear": order[300:310], "right_ear": order[310:320],
             "left_eyeball": order[2000:2010], "nose": order[1000:], "face": order}  # fmt: skip
    stand_ins.write_pickle(tmp_path / "FLAME_masks.pkl", masks)
    regions = convert("flame2020", [folder, tmp_path])[0].regions
    assert (regions[order[:200]] == REGIONS.index("neck")).all() and (regions[order[-150:]] == REGIONS.index("scalp")).all()
    assert (regions[order[300:320]] == REGIONS.index("ear")).all()
    assert set(regions[order[2000:2010]]) <= {REGIONS.index("left_eye"), REGIONS.index("right_eye")}
    assert 50 < (regions == REGIONS.index("nose")).sum() < 500, "from the face mesh: the file's own holds skin around it"


@pytest.mark.parametrize("kind", ["FLAME_texture.npz", "albedoModel2020_FLAME_albedoPart.npz"])
def test_texture_spaces(flame, tmp_path, kind):
    folder, arrays = flame
    rng = np.random.default_rng(3)
    v = arrays["v_template"]
    vt = (v[:, :2] - v[:, :2].min(0)) / np.ptp(v[:, :2], axis=0)
    blue_first = np.broadcast_to(np.array([0.3, 0.4, 0.6]), (512, 512, 3)) * np.linspace(0.5, 1, 512)[:, None, None]
    modes = rng.normal(0, 0.02, (1, 1, 3, 3)) * np.linspace(0, 1, 512)[:, None, None, None] * np.ones((1, 512, 1, 1))
    names = ("mean", "tex_dir", 255) if kind.startswith("FLAME") else ("MU", "PC", 1)
    arrays_out = {names[0]: blue_first * names[2], names[1]: modes * names[2], "vt": vt, "ft": arrays["f"]}
    np.savez(tmp_path / kind, **arrays_out)
    got, _ = convert("flame2020", [folder, tmp_path])
    assert got.texture_px == 256 and got.albedo.shape == (3, 256 * 256, 3)
    texture = got.albedo_mean.reshape(256, 256, 3)
    display = (lambda x: x) if names[2] == 255 else (lambda x: (0.6 * x) ** (1 / 2.2))
    assert texture[128, 5] == pytest.approx(display(blue_first[256, 0, ::-1]), abs=2e-3), "red first"
    bumped = display(blue_first + 0.1 * modes[..., 1])[256, 0, ::-1] - display(blue_first)[256, 0, ::-1]
    assert 0.1 * got.albedo[1].reshape(256, 256, 3)[128, 5] == pytest.approx(bumped, abs=1e-4)
    assert got.uv[v[:, 1].argmax(), 1] == pytest.approx(0, abs=1e-6), "v runs down"


def test_npz_gives_the_same_base(flame, basis, tmp_path):
    folder, arrays = flame
    np.savez(tmp_path / "FLAME_NEUTRAL.npz", **arrays)
    shutil.copy(folder / "landmark_embedding.npy", tmp_path)
    other, _ = convert("flame2020", [tmp_path])
    for part in ("mean", "identity", "expression", "triangles"):
        assert np.array_equal(getattr(other, part), getattr(basis, part)), part


def test_bad_files_are_named(flame, tmp_path):
    folder, arrays = flame
    with pytest.raises(BasisError, match=r"generic_model.pkl or .* is missing"):
        convert("flame2020", [tmp_path])
    shutil.copy(folder / "generic_model.pkl", tmp_path)
    with pytest.raises(BasisError, match=r"landmark_embedding.npy or mediapipe_landmark_embedding.npz .*missing"):
        convert("flame2020", [tmp_path])
    shutil.copy(folder / "landmark_embedding.npy", tmp_path)
    data = (folder / "generic_model.pkl").read_bytes()
    (tmp_path / "generic_model.pkl").write_bytes(data[: len(data) // 2])
    with pytest.raises(BasisError, match=r"generic_model.pkl: is not a pickle that can be read"):
        convert("flame2020", [tmp_path])
    stand_ins.write_pickle(tmp_path / "generic_model.pkl", {**arrays, "v_template": arrays["v_template"][:4000]})
    with pytest.raises(BasisError, match=r"generic_model.pkl: v_template is 4000 x 3, expected 5023 x 3"):
        convert("flame2020", [tmp_path])

    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    import pickle

    (tmp_path / "generic_model.pkl").write_bytes(pickle.dumps({**arrays, "extra": Runs()}))
    with pytest.raises(BasisError, match="refused, nothing was run"):
        convert("flame2020", [tmp_path])
    assert not (tmp_path / "ran").exists()
