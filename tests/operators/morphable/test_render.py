from dataclasses import replace

import numpy as np
import pytest
import torch

from operators.morphable.render import FaceRenderer, FaceRendererConfig
from tests.operators.morphable.scenes import SIZE, make_scene

CONFIG = FaceRendererConfig(
    *("synthetic", True, (-30.0, 0.0, 30.0)), texture_px=64, mesh_formats=("obj", "ply", "glb"), edge_views_deg=(-10.0, 10.0)
)


@pytest.fixture(scope="module")
def fitted():
    batch, truth = make_scene()
    c = truth["coefficients"].numpy()
    values = {
        "identity": c[:, :10], "expression": c[:, 10:], "albedo": truth["albedo"], "light": truth["light"],
        "rotation_deg": truth["angles"], "translation": truth["translation"], "focal_px": np.full(4, 4.0 * SIZE),
    }  # fmt: skip
    for name, value in values.items():
        batch.put(name, value)
    return batch, truth


@pytest.fixture(scope="module")
def drawn(fitted):
    return FaceRenderer(CONFIG)(fitted[0].copy()).faces


def test_render_gives_back_the_face_under_the_occluder(fitted, drawn):
    batch, truth = fitted
    face = truth["face"].numpy()
    error = np.abs(drawn["render"].astype(int) - truth["uncovered"].numpy().astype(int)).mean(-1)
    occluded = batch.faces["occluder"] & face
    assert error[occluded].mean() < 6
    assert error[face & ~occluded].mean() < 6
    assert (drawn["render_mask"] == face)[:, 2:-2, 2:-2].mean() > 0.98


def test_shapes_and_kinds(drawn):
    assert drawn["render"].shape == (4, SIZE, SIZE, 3) and drawn["render"].dtype == np.uint8
    assert drawn["views"].shape == (4, 3, SIZE, SIZE, 3)
    assert drawn["mesh_texture"].shape == (4, 64, 64, 3)
    assert drawn["mesh_obj"][0].startswith(b"mtllib") and drawn["mesh_ply"][0].startswith(b"ply")
    assert drawn["mesh_glb"][0].startswith(b"glTF")
    assert drawn["view_angles_deg"].tolist() == [[[-30, 0], [0, 0], [30, 0]]] * 4
    assert set(FaceRenderer.info.writes) <= set(drawn)


def test_overlay_is_the_crop_where_no_face_is(fitted, drawn):
    outside = ~fitted[1]["face"].numpy() & ~drawn["render_mask"]
    outside &= np.abs(drawn["overlay"].astype(int) - fitted[0].faces["crop"]).max(-1) == 0
    assert outside.mean() > 0.2


def test_views_turn_the_way_the_angle_says():
    """Positive yaw turns the nose to the viewer's right and shows more of the cheek on the viewer's left."""
    renderer = FaceRenderer(CONFIG)
    texture = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    texture[:, :, :32] = 255
    views = renderer._views(renderer.model.shape.mean[None], texture, SIZE)[0].numpy()
    white, black = ((views > 250).all(-1).mean((1, 2)), (views < 5).all(-1).mean((1, 2)))
    share = white / (white + black)
    assert share[0] < 0.4 < share[1] < 0.6 < share[2]
    assert (views[:, 0, 0] == 236).all()


def test_what_is_switched_off_is_not_made(fitted):
    config = FaceRendererConfig(basis="synthetic", texture_px=64, views=False, overlay=False, mesh=False)
    out = FaceRenderer(config)(fitted[0].copy()).faces
    assert "render" in out and not {"views", "view_angles_deg", "overlay", "mesh_obj", "mesh_texture"} & set(out)


def test_same_face_same_bytes_in_any_company(fitted, drawn):
    alone = FaceRenderer(CONFIG)(fitted[0].take([1])).faces
    for name in FaceRenderer.info.writes:
        assert np.array_equal(alone[name][0], drawn[name][1]), name


def test_threads_change_no_byte(fitted, drawn):
    before = torch.get_num_threads()
    torch.set_num_threads(1 if before > 1 else 2)
    try:
        out = FaceRenderer(CONFIG)(fitted[0].copy()).faces
    finally:
        torch.set_num_threads(before)
    for name in ("render", "overlay", "views", "mesh_texture"):
        assert np.array_equal(out[name], drawn[name]), name


def test_views_tilt_the_way_the_pitch_says():
    """Positive pitch turns the nose down and shows more of the forehead."""
    config = FaceRendererConfig(basis="synthetic", texture_px=64, views_deg=(0.0, 0.0, 0.0), views_pitch_deg=(-30.0, 0.0, 30.0))
    renderer = FaceRenderer(config)
    texture = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    texture[:, :32] = 255
    views = renderer._views(renderer.model.shape.mean[None], texture, SIZE)[0].numpy()
    white, black = ((views > 250).all(-1).mean((1, 2)), (views < 5).all(-1).mean((1, 2)))
    share = white / (white + black)
    assert share[0] < 0.4 < share[1] < 0.6 < share[2]


def test_pitches_that_do_not_fit_the_views_are_refused():
    with pytest.raises(ValueError, match="2 for 3 views"):
        FaceRendererConfig(views_deg=(0.0, 1.0, 2.0), views_pitch_deg=(1.0, 2.0))
    with pytest.raises(ValueError, match=r"edge_views_pitch_deg: .* 3 for 2 views"):
        FaceRendererConfig(edge_views_deg=(-5.0, 5.0), edge_views_pitch_deg=(1.0, 2.0, 3.0))


def test_light_can_be_taken_away_and_changed(fitted):
    """Without light the texture is the albedo that the face was made with; the render keeps the photo's light."""
    batch, truth = fitted
    renders = {light: FaceRenderer(replace(CONFIG, light=light))(batch.copy()).faces for light in ("photo", "frontal", "none")}
    for light in ("frontal", "none"):
        assert np.array_equal(renders[light]["render"], renders["photo"]["render"])
    atlas = FaceRenderer(CONFIG).atlas
    coefficients = torch.cat((torch.ones(4, 1), truth["albedo"]), 1)
    albedo = (coefficients @ atlas.albedo.T).unflatten(1, (-1, 3)).clamp(0, 1) * 255
    texels = {name: torch.as_tensor(out["mesh_texture"]).flatten(1, 2)[:, atlas.texels].float() for name, out in renders.items()}
    assert (texels["none"] - albedo).abs().mean() < 6 < (texels["photo"] - albedo).abs().mean()
    row, column = atlas.texels // 64, atlas.texels % 64
    middle = (abs(row - 32) < 8) & (abs(column - 32) < 8)
    lit = texels["frontal"] / texels["none"].clamp_min(1)
    assert lit[:, middle].mean() > 0.85 > 0.75 > lit[:, column < 4].mean()
