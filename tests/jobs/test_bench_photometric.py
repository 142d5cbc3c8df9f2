import pytest

from jobs.benchmarks.photometric import SETTINGS, Bench, measure
from jobs.benchmarks.photometric_scenes import SceneSettings, make_scenes


@pytest.fixture(scope="module")
def bench():
    return Bench.of("synthetic")


def test_the_full_fit_is_nearer_to_the_truth_than_landmarks(bench):
    row = measure(bench, make_scenes(bench.model, 4, settings=SceneSettings(yaw_deg=15.0, pitch_deg=10.0)), 1.0, SETTINGS)
    assert row["n"] == 4
    assert row["vertex_full"] < 0.9 * row["vertex_landmarks"] < row["vertex_mean_face"]
    assert row["albedo_rms"] < 0.85 * row["albedo_mean_face"]


def test_an_occluder_hides_the_lower_face_and_troubles_change_the_photo(bench):
    plain = make_scenes(bench.model, 2, 1)
    covered = make_scenes(bench.model, 2, 1, SceneSettings(hidden=0.5))
    assert not plain.hidden.any() and covered.hidden.any()
    assert not (covered.visible & covered.hidden).any()
    chin = covered.landmarks[:, 8].round().long().clamp(0, 255)
    assert all(covered.hidden[i, y, x] for i, (x, y) in enumerate(chin.tolist()))
    for trouble in ("beard", "glasses", "shadow", "shine"):
        other = make_scenes(bench.model, 2, 1, SceneSettings(trouble=trouble)).image.float()
        assert (other - plain.image).abs()[plain.visible].max() > 20, trouble
