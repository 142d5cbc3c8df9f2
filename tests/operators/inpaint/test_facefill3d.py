import pytest
import torch
from torch import nn

from operators.assets import AssetStore
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.system import Official
from operators.inpaint import facefill3d
from operators.inpaint.base import FillInput
from operators.inpaint.facefill3d import FaceFillInpainter, FaceFillInpainterConfig, over
from operators.inpaint.facefill3d_geometry import UvAtlas, draw, posed, shade
from operators.networks.facefill3d import SYSTEM, FaceFill
from operators.networks.facefill3d_definition import FaceDefinition
from operators.networks.facefill3d_drawn import drawn_definition
from operators.networks.facefill3d_encoder import Encoder
from operators.networks.facefill3d_inpainter import AlbedoInpainter
from operators.networks.facefill3d_parser import FaceParser
from operators.rasterize import select
from tests.fake_gpu import DEVICE, fake_gpu, move, move_fields
from tests.official import facefill3d as official

SIZE, MODES = 128, (3, 2)
POSE = torch.tensor([[0.05, 0.12, 0.04, 0.02, -0.04]])
BACKGROUND = 0.2


class Knows(Encoder):
    """An encoder that knows the scene's pose and light; it keeps what it was shown."""

    def __init__(self, light):
        nn.Module.__init__(self)
        self.light, self.shown = light, []

    def features(self, image):
        self.shown.append(image.clone())
        return image

    def geometry(self, image):
        n = len(image)
        return torch.zeros(n, sum(MODES)), torch.full((n,), 1e-3), POSE.expand(n, -1), self.light.expand(n, -1)


class Mirror(AlbedoInpainter):
    """An inpainter that takes what is hidden from the other half of the face."""

    def __init__(self):
        nn.Module.__init__(self)

    def forward(self, albedo, visible):
        self.visible = visible
        return torch.where(visible > 0, albedo, albedo.flip(3)), visible


class Says(FaceParser):
    """A segmentation that calls the left half of the picture background."""

    def __init__(self):
        super().__init__(4)

    def forward(self, image):
        left = (torch.arange(image.shape[3]) < image.shape[3] // 2).float()
        return torch.stack((1 - left, torch.zeros_like(left), left))[None, :, None].expand(len(image), -1, image.shape[2], -1)


@pytest.fixture(scope="module")
def scene():
    """A symmetric face in light from one side, its picture, and a hole over one cheek and what lies beside it."""
    face = FaceDefinition(drawn_definition(65, 81, MODES) | {"shape_para_mean.npy": torch.zeros(sum(MODES))})
    light = torch.zeros(1, 27)
    light[:, 0::9], light[:, 3::9], light[:, 1::9] = 3.0, -0.3, 0.2
    at = posed(face, torch.zeros(1, sum(MODES)), torch.tensor([1e-3]), POSE)
    u, v = (UvAtlas(face).grid[:, k] for k in (0, 1))
    albedo = torch.stack((0.5 + 0.2 * torch.cos(4 * u), 0.5 + 0.2 * torch.cos(5 * v), 0.5 + 0.2 * torch.cos(3 * u) * v), 1)
    colours = albedo * shade(light, at.normals.mT[..., None])[..., 0].mT
    assert colours[at.towards].min() > 0.05 and colours.max() < 1
    rasterizer = select("numba", perspective=False, cull_backfaces=True)
    place = at.vertices_px * torch.tensor([0.5, 0.5, 1.0]) + torch.tensor([8.0, 8.0, 0.0])
    picture, shown = draw(colours, at.towards, place, face, rasterizer, SIZE, SIZE)
    picture = torch.where(shown[:, None], picture, BACKGROUND)
    hole = torch.zeros(1, SIZE, SIZE, dtype=torch.bool)
    hole[:, 50:90, 82:120] = True
    assert 200 < (hole & shown).sum() < 0.8 * hole.sum()
    return face, light, picture, shown, hole


def given(picture, hole):
    return FillInput(torch.where(hole[:, None], 0.5, picture), hole, torch.zeros(len(picture), dtype=torch.int64))


def inpainter(scene, parser=None, **options):
    face, light = scene[:2]
    config = FaceFillInpainterConfig(window=112 / 128, window_up=0.0, **options)
    return FaceFillInpainter(config, network=FaceFill(Knows(light), Mirror(), face, parser))


@pytest.mark.parametrize("iterations", [1, 2])
def test_the_hidden_half_comes_back_in_its_own_light(scene, iterations):
    _, _, picture, shown, hole = scene
    filled = inpainter(scene, iterations=iterations).fill(given(picture, hole))
    assert torch.equal(filled[:, :, ~hole[0]], picture[:, :, ~hole[0]])
    inner = hole & (nn.functional.avg_pool2d(shown[:, None].float(), 7, 1, 3)[:, 0] > 0.99)
    off = (filled - picture).abs().amax(1)[inner]
    assert off.mean() < 0.015 and off.quantile(0.98) < 0.06
    flipped = (picture.flip(3) - picture).abs().amax(1)[inner]
    assert off.mean() < 0.2 * flipped.mean()  # light and pose make the mirrored picture itself a bad guess


def test_stretched_tones_are_taken_back(scene):
    _, _, picture, shown, hole = scene
    filled = inpainter(scene, stretch=True).fill(given(picture, hole))
    assert (filled - picture).abs().amax(1)[hole & shown].mean() < 0.08


class Fragile(Knows):
    """Its pose is no number in half precision."""

    def geometry(self, image):
        shape, scale, pose, light = super().geometry(image)
        return shape, scale, torch.full_like(pose, torch.nan) if torch.is_autocast_enabled("cpu") else pose, light


def test_a_face_without_finite_numbers_in_half_precision_is_done_again(scene):
    _, light, picture, _, hole = scene
    filled = []
    for precision in ("float32", "bfloat16"):
        painter = inpainter(scene, precision=precision)
        painter.network.encoder = Fragile(light)
        filled.append(painter.fill(given(picture, hole)))
    assert torch.equal(*filled)
    with torch.autocast("cpu", torch.bfloat16):
        assert bool(torch.isnan(painter.paint(given(picture, hole))[:, :, hole[0]]).all())


class Darker(Mirror):
    def forward(self, albedo, visible):
        completed, confidence = super().forward(albedo, visible)
        return completed - 0.1, confidence


def test_a_step_at_the_border_is_taken_back_where_that_is_asked_for(scene):
    _, _, picture, shown, hole = scene
    off = []
    for reach in (0.0, 0.1):
        painter = inpainter(scene, blend_reach=reach)
        painter.network.inpainter = Darker()
        filled = painter.fill(given(picture, hole))
        assert torch.equal(filled[:, :, ~hole[0]], picture[:, :, ~hole[0]])
        border = hole & shown & (nn.functional.max_pool2d((~hole & shown)[:, None].float(), 5, 1, 2)[:, 0] > 0)
        off.append([float((filled - picture).abs().amax(1)[where].mean()) for where in (border, hole & shown & ~border)])
    (hard, hard_inside), (soft, soft_inside) = off
    assert hard > 0.05 and soft < 0.4 * hard and soft_inside < hard_inside


def test_all_but_the_drawing_lies_where_the_network_is(monkeypatch):
    painter = FaceFillInpainter(FaceFillInpainterConfig(stretch=True, blend_reach=0.1), network=tiny())

    def blank(colours, counts, vertices_px, face, rasterizer, height, width):
        assert {given.device.type for given in (colours, counts, vertices_px, face.triangles)} == {DEVICE}
        return colours.new_zeros(len(colours), 3, height, width), counts.new_zeros(len(colours), height, width)

    monkeypatch.setattr(facefill3d, "draw", blank)
    monkeypatch.setattr(facefill3d, "_CYCLES", 1)  # of the membranes, whose devices are all the same
    one = faces(1, 64, 64)
    with fake_gpu():
        move(painter.network)
        move(painter.atlas)
        painted = painter.paint(move_fields(one, "seeds"))
        assert painted.device.type == DEVICE and painted.shape == one.image.shape


def test_beside_the_face_the_surroundings_go_on(scene):
    _, _, picture, shown, hole = scene
    filled = inpainter(scene).fill(given(picture, hole))
    outer = hole & (nn.functional.max_pool2d(shown[:, None].float(), 9, 1, 4)[:, 0] == 0)
    assert outer.sum() > 100 and (filled - BACKGROUND).abs().amax(1)[outer].max() < 0.05


def test_later_passes_show_the_encoder_the_completed_face(scene):
    _, _, picture, _, hole = scene
    painter = inpainter(scene, iterations=3)
    painter.fill(given(picture, hole))
    first, second, third = painter.network.encoder.shown
    hidden = (first == 0).all(1)
    assert hidden.float().mean() > 0.1
    assert (second == 0).all(1).sum() < 0.7 * hidden.sum()  # what lies beside the face stays hidden
    assert torch.equal(first[:, :, ~hidden[0]], second[:, :, ~hidden[0]])
    torch.testing.assert_close(third, second)


def test_no_skin_is_taken_from_what_is_called_background(scene):
    _, _, picture, _, hole = scene
    areas = []
    for parse in (True, False):
        painter = inpainter(scene, Says().eval(), parse=parse)
        painter.fill(given(picture, hole))
        areas.append(float(painter.network.inpainter.visible.mean()))
    assert 0 < areas[0] < 0.6 * areas[1]


def test_pixels_beyond_the_photo_are_not_skin(scene):
    _, _, picture, _, hole = scene
    painter, valid = inpainter(scene), torch.ones_like(hole)
    painter.fill(given(picture, hole))
    before = painter.network.inpainter.visible.mean()
    valid[:, :, :60] = False
    whole = given(picture, hole)
    painter.fill(FillInput(whole.image, whole.hole, whole.seeds, valid=valid))
    assert painter.network.inpainter.visible.mean() < 0.8 * before


@pytest.fixture(scope="module")
def small():
    return tiny()


def tiny():
    weights = {f"data.{name}": value for name, value in official.definition().items()}
    weights |= {f"{part}.{key}": value for part, state in official.states().items() for key, value in state.items()}
    return SYSTEM.build(Official(weights))


def faces(count, height, width):
    random = torch.Generator().manual_seed(count)
    hole = torch.zeros(count, height, width, dtype=torch.bool)
    for i in range(count):
        hole[i, height // 2 - 4 * i : height - 9, width // 4 : width - 8 - i] = True
    return given(torch.rand((count, 3, height, width), generator=random), hole)


def test_a_batch_of_faces_gives_each_ones_own_bits(small):
    painter, three = FaceFillInpainter(FaceFillInpainterConfig(iterations=2), network=small), faces(3, 96, 96)
    together = painter.fill(three)
    alone = torch.cat([painter.fill(three.take(slice(i, i + 1))) for i in range(3)])
    assert torch.equal(together, alone) and torch.equal(together, painter.fill(three))
    painted = painter.paint(three)  # as on a GPU: all at once
    torch.testing.assert_close(torch.where(three.hole[:, None], painted, three.image), together, atol=2e-3, rtol=0)


@pytest.mark.parametrize("size", [(61, 75), (130, 96), (256, 256)])
def test_crops_of_any_size(small, size):
    one = faces(1, *size)
    filled = FaceFillInpainter(network=small).fill(one)
    assert filled.shape == one.image.shape and bool(torch.isfinite(filled).all())
    assert torch.equal(filled[:, :, ~one.hole[0]], one.image[:, :, ~one.hole[0]])
    assert not torch.equal(filled, one.image)


@pytest.mark.parametrize("fill", [True, False])
def test_a_hole_that_is_everything_or_nothing(small, fill):
    one = faces(1, 64, 64)
    whole = given(one.image, torch.full_like(one.hole, fill))
    filled = FaceFillInpainter(FaceFillInpainterConfig(stretch=True), network=small).fill(whole)
    assert bool(torch.isfinite(filled).all()) and (fill or torch.equal(filled, whole.image))


def test_half_precision_stays_near_full_precision(small):
    one = faces(1, 96, 96)
    whole = FaceFillInpainter(network=small).fill(one)
    half = FaceFillInpainter(FaceFillInpainterConfig(precision="bfloat16"), network=small).fill(one)
    assert bool(torch.isfinite(half).all()) and 0 < (half - whole).abs().mean() < 0.05


def test_checkpoints_are_opened_by_path_and_prepared_without_change(tmp_path, small):
    config = FaceFillInpainterConfig(checkpoint=official.write(tmp_path / "files"))
    opened = FaceFillInpainter(config, AssetStore(tmp_path / "cache"))
    assert torch.equal(opened.fill(faces(1, 80, 80)), FaceFillInpainter(network=small).fill(faces(1, 80, 80)))
    image, visible = torch.rand(1, 3, 64, 96) - 0.5, (torch.rand(1, 1, 64, 96) > 0.3).float()
    with torch.inference_mode():
        for name, args in (("inpainter", (image, visible)), ("parser", (image,))):
            prepared, plain = (getattr(network, name)(*args) for network in (opened.network, small))
            for ours, published in zip(prepared, plain, strict=True):
                assert (ours - published).norm() < 1e-5 * published.norm()
        seen = torch.rand(1, 3, 224, 224) - 0.5
        for ours, published in zip(geometry(opened.network, seen), geometry(small, seen), strict=True):
            assert (ours - published).norm() < 1e-5 * published.norm()


def geometry(network, image):
    return network.encoder.geometry(network.encoder.features(image))


def test_vertices_on_the_pictures_edge_lie_over_it():
    at = torch.tensor([[[0.0, 0.0, 1.0], [8.0, 4.0, 1.0], [8.1, 1.0, 1.0], [-0.1, 1.0, 1.0]]])
    assert over(at, 4, 8)[0].tolist() == [True, True, False, False]


@pytest.mark.parametrize("wrong", [{"iterations": 0}, {"window": 0.0}, {"window": 1.2}, {"blend_reach": -0.1}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
        FaceFillInpainterConfig(**wrong)


def test_a_checkpoint_is_needed(tmp_path):
    with pytest.raises(CheckpointError, match="3DFaceFill"):
        FaceFillInpainter(FaceFillInpainterConfig(), AssetStore(tmp_path))
