import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay

from operators.rasterize import select
from operators.rasterize.numba_backend import NumbaRasterizer
from tests.operators.rasterize.meshes import brute_force, exact_coverage, grid, soup


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_every_triangle_at_every_pixel(seed):
    vertices, triangles = soup(seed)
    index, weights = brute_force(vertices.astype(np.float64), triangles, 48, 56)
    fragments = NumbaRasterizer()(torch.tensor(vertices)[None], torch.tensor(triangles), 48, 56)
    assert (fragments.pix_to_face[0].numpy() == index).mean() > 0.999
    same = (fragments.pix_to_face[0].numpy() == index) & (index >= 0)
    assert same.sum() > 500
    np.testing.assert_allclose(fragments.barycentric[0].numpy()[same], weights[same], atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_shared_edges_leave_no_gap_and_no_overlap(seed):
    vertices, triangles = grid(seed)
    whole = NumbaRasterizer()(vertices, triangles, 32, 32).pix_to_face
    assert (whole >= 0).all()
    times = sum((NumbaRasterizer()(vertices, t[None], 32, 32).pix_to_face >= 0).int() for t in triangles)
    assert (times == 1).all()


def test_centre_on_an_edge_belongs_to_the_top_left_triangle():
    square = torch.tensor([[[0.5, 0.5, 1], [3.5, 0.5, 1], [0.5, 3.5, 1], [3.5, 3.5, 1]]])
    hit = NumbaRasterizer()(square, torch.tensor([[0, 2, 1], [1, 2, 3]]), 4, 4).pix_to_face[0] >= 0
    expected = torch.zeros(4, 4, dtype=torch.bool)
    expected[:3, :3] = True
    assert torch.equal(hit, expected)


def test_equal_depth_goes_to_the_smaller_index_whatever_the_winding():
    triangle = torch.tensor([[[0, 0, 2.0], [8, 0, 2.0], [0, 8, 2.0]]])
    for triangles in ([[0, 1, 2], [0, 2, 1]], [[0, 2, 1], [0, 1, 2]]):
        found = NumbaRasterizer()(triangle, torch.tensor(triangles), 8, 8).pix_to_face
        assert set(found.unique().tolist()) == {-1, 0}


def test_depth_is_perspective_correct():
    triangle = torch.tensor([[[0, 0, 1.0], [64, 0, 4.0], [0, 64, 1.0]]])
    fragments = NumbaRasterizer()(triangle, torch.tensor([[0, 1, 2]]), 64, 64)
    x, y = 31, 4
    share = (x + 0.5) / 64
    assert float(fragments.depth[0, y, x]) == pytest.approx(1 / ((1 - share) / 1 + share / 4), rel=1e-4)
    assert float(fragments.barycentric[0, y, x] @ torch.tensor([1.0, 4.0, 1.0])) == pytest.approx(
        float(fragments.depth[0, y, x]), rel=1e-5
    )
    flat = NumbaRasterizer(perspective=False)(triangle, torch.tensor([[0, 1, 2]]), 64, 64)
    assert float(flat.depth[0, y, x]) == pytest.approx(1 + 3 * share, rel=1e-4)


@pytest.mark.parametrize("reach", [0.6, 1.5, 2.5, 3.5, 4.0, 7.99, 8.0, 30.0, 3000.0, 60000.0])
def test_every_size_of_triangle_covers_exactly_what_the_integer_rule_says(reach):
    rng = np.random.default_rng(int(reach * 100))
    size, count = 24, 400 if reach < 100 else 60
    corners = rng.uniform(-4, size + 4, (count, 1, 2)) + rng.uniform(-reach / 2, reach / 2, (count, 3, 2))
    corners[: count // 2] = np.round(corners[: count // 2] * 2) / 2
    corners[:5] += np.array([[0.0, 0.0], [reach, 0.0], [0.0, reach]])
    vertices = np.concatenate((corners, np.ones((count, 3, 1))), -1).astype(np.float32)
    fragments = NumbaRasterizer()(torch.tensor(vertices), torch.tensor([[0, 1, 2]]), size, size + 3)
    expected = exact_coverage(vertices[..., :2], size, size + 3)
    assert expected.any()
    np.testing.assert_array_equal(fragments.pix_to_face.numpy() == 0, expected)
    weights = fragments.barycentric[fragments.pix_to_face >= 0]
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(len(weights)), atol=1e-6, rtol=0)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    points=st.integers(4, 300),
    snapped=st.booleans(),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_random_meshes_are_watertight(seed, points, snapped, height, width):
    """Triangulated random points: inside their hull every pixel belongs to exactly one triangle."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(0, 1, (points, 2)) * [width, height]
    if snapped:
        place = np.round(place * 2) / 2
    place = np.unique(np.concatenate((place, [[-1, -1], [width + 1, -1], [-1, height + 1], [width + 1, height + 1]])), axis=0)
    triangles = Delaunay(place).simplices
    flipped = rng.random(len(triangles)) < 0.5
    triangles[flipped] = triangles[flipped][:, ::-1]
    vertices = torch.tensor(np.concatenate((place, rng.uniform(1, 2, (len(place), 1))), 1), dtype=torch.float32)
    alone = NumbaRasterizer()(vertices[torch.tensor(triangles).long()], torch.tensor([[0, 1, 2]]), height, width).pix_to_face
    assert ((alone >= 0).sum(0) == 1).all()
    together = NumbaRasterizer()(vertices[None], torch.tensor(triangles), height, width).pix_to_face[0]
    assert torch.equal(together.long(), (alone >= 0).int().argmax(0))


@pytest.mark.parametrize("size", [(1, 1), (1, 37), (37, 1), (2, 3), (33, 64), (255, 31), (1024, 1024)])
def test_any_picture_size(size):
    height, width = size
    vertices, triangles = soup(5, 8, 1)
    vertices[:, 0], vertices[:, 1] = (vertices[:, 0] + 5) / 11 * width, (vertices[:, 1] + 5) / 11 * height
    fragments = NumbaRasterizer()(torch.tensor(vertices)[None], torch.tensor(triangles), height, width)
    rows, columns = slice(0, None, max(1, height // 16)), slice(0, None, max(1, width // 16))
    expected = exact_coverage(vertices[triangles][..., :2], height, width) if height * width < 10000 else None
    if expected is not None:
        np.testing.assert_array_equal(fragments.pix_to_face[0].numpy() >= 0, expected.any(0))
    index = brute_force(vertices.astype(np.float64), triangles, height, width)[0]
    assert (fragments.pix_to_face[0].numpy() == index)[rows, columns].mean() > 0.99
    assert torch.equal(torch.isinf(fragments.depth), fragments.pix_to_face < 0)


def test_culling_keeps_what_turns_counter_clockwise_for_the_viewer():
    vertices = torch.tensor([[[0, 0, 1.0], [8, 0, 1.0], [0, 8, 1.0]]])
    cull = NumbaRasterizer(cull_backfaces=True)
    assert (cull(vertices, torch.tensor([[0, 2, 1]]), 8, 8).pix_to_face >= 0).any()
    assert not (cull(vertices, torch.tensor([[0, 1, 2]]), 8, 8).pix_to_face >= 0).any()


@pytest.mark.parametrize(
    "bad", [[2.0, 2.0, -1.0], [2.0, 2.0, 0.0], [float("nan"), 2, 1], [2, float("inf"), 1], [2, 2, float("nan")]]
)
def test_vertices_behind_the_camera_or_not_finite_drop_their_triangle_only(bad):
    vertices = torch.tensor([[[0, 0, 1.0], [8, 0, 1.0], [0, 8, 1.0], bad]])
    found = NumbaRasterizer()(vertices, torch.tensor([[0, 1, 3], [0, 1, 2]]), 8, 8)
    assert set(found.pix_to_face.unique().tolist()) == {-1, 1}
    assert torch.isfinite(found.barycentric).all()


def test_a_mesh_does_not_depend_on_its_batch():
    vertices, triangles = soup(3)
    batch = torch.stack([torch.tensor(vertices) + k for k in range(3)])
    together = NumbaRasterizer()(batch, torch.tensor(triangles), 40, 40)
    alone = NumbaRasterizer()(batch[1:2], torch.tensor(triangles), 40, 40)
    assert torch.equal(together.pix_to_face[1], alone.pix_to_face[0])
    assert torch.equal(together.barycentric[1], alone.barycentric[0])


@pytest.mark.parametrize("perspective", [True, False])
def test_order_of_the_batch_its_size_and_threads_change_nothing(perspective):
    rng = np.random.default_rng(4)
    batch = torch.stack([torch.tensor(soup(seed, 60)[0]) for seed in range(7)])
    batch[3, 5] = float("nan")
    triangles = torch.tensor(soup(0, 60)[1])
    rasterizer = NumbaRasterizer(perspective=perspective)
    whole = rasterizer(batch, triangles, 50, 41)
    order = torch.tensor(rng.permutation(7))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        turned = rasterizer(batch[order], triangles, 50, 41)
        alone = [rasterizer(one[None], triangles, 50, 41) for one in batch]
    finally:
        torch.set_num_threads(before)
    for name in ("pix_to_face", "barycentric", "depth"):
        assert torch.equal(getattr(whole, name)[order], getattr(turned, name))
        assert torch.equal(getattr(whole, name), torch.cat([getattr(one, name) for one in alone]))


def test_order_of_triangles_changes_only_their_names():
    vertices, triangles = (torch.tensor(a) for a in soup(6, 80))
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    first, second = (NumbaRasterizer()(vertices[None], t, 48, 48) for t in (triangles, triangles[order]))
    hit = first.pix_to_face >= 0
    assert torch.equal(hit, second.pix_to_face >= 0)
    assert torch.equal(order[second.pix_to_face[hit].long()], first.pix_to_face[hit].long())
    assert torch.equal(first.depth, second.depth)


def test_what_is_off_the_picture_degenerate_or_out_of_range_shows_nothing():
    far = [[-30, -30, 1], [-20, -30, 1], [-30, -20, 1], [40, 3, 1], [50, 3, 1], [40, 9, 1]]
    line = [[1, 1, 1], [4, 4, 1], [7, 7, 1], [2, 2, 1], [2, 2, 1], [2, 2, 1]]
    beyond = [[-70000, 2, 1], [9, 2, 1], [9, 9, 1], [0, 0, 1e19], [9, 0, 1e19], [0, 9, 1e19]]
    vertices = torch.tensor([far, line, beyond], dtype=torch.float32)
    found = NumbaRasterizer()(vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]), 10, 10)
    assert (found.pix_to_face == -1).all() and (found.barycentric == 0).all() and torch.isinf(found.depth).all()


def test_empty_batch_and_wrong_shapes():
    _, triangles = grid(0)
    assert NumbaRasterizer()(torch.zeros(0, 81, 3), triangles, 4, 4).pix_to_face.shape == (0, 4, 4)
    with pytest.raises(ValueError, match="at least one pixel"):
        NumbaRasterizer()(torch.zeros(1, 81, 3), triangles, 0, 4)
    with pytest.raises(ValueError, match="at most 32768"):
        NumbaRasterizer()(torch.zeros(1, 81, 3), triangles, 4, 40000)
    with pytest.raises(ValueError, match=r"0\.\.79, got 0\.\.80"):
        NumbaRasterizer()(torch.zeros(1, 80, 3), triangles, 4, 4)
    assert (NumbaRasterizer()(torch.zeros(1, 81, 3), triangles[:0], 4, 4).pix_to_face == -1).all()


def test_select_names_its_choices():
    assert isinstance(select("auto"), NumbaRasterizer)
    with pytest.raises(ValueError, match="auto, numba, triton, pytorch3d"):
        select("opengl")
