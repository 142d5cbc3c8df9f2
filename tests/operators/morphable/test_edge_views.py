import numpy as np
import pytest
import torch

from operators import masks
from operators.edges import canny
from operators.morphable import camera
from operators.morphable.bases.synthetic import synthetic_basis
from operators.morphable.draw import draw_textured, supersampled
from operators.morphable.edge_views import edge_votes
from operators.morphable.model import MorphableModel
from operators.morphable.views import placed
from operators.rasterize import select

SIZE, SIGMA = 128, 1.0
TURNS = torch.tensor([[-10.0, 0.0], [10.0, 0.0], [0.0, 8.0]])


@pytest.fixture(scope="module")
def heads():
    """Two turned heads, the places of one photo each, and a texture with a square that is brighter."""
    basis = synthetic_basis()
    model = MorphableModel(basis)
    vertices = model.vertices(torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))
    rotation = camera.rotation_from_deg(torch.tensor([[5.0, 15.0, 0.0], [-8.0, -20.0, 10.0]]))
    place = (rotation, torch.tensor([[0.0, 0, 120]]).repeat(2, 1), torch.full((2,), 4.0 * SIZE), SIZE)
    textures = torch.full((2, 64, 64, 3), 90, dtype=torch.uint8)
    textures[:, 28:44, 22:42] = 230
    return vertices, model.triangles, torch.as_tensor(basis.uv[basis.uv_triangles]), textures, place


def votes(heads, textures=None, turns=TURNS, take=slice(None)) -> np.ndarray:
    vertices, triangles, uv, own, (rotation, translation, focal, size) = heads
    own = own if textures is None else textures
    place = (rotation[take], translation[take], focal[take], size)
    return edge_votes(vertices[take], triangles, uv, own[take], place, turns, select("numba"), SIGMA).numpy()


def view(heads) -> tuple[np.ndarray, np.ndarray]:
    """The photo's own view: its edges and its coverage."""
    vertices, triangles, uv, textures, place = heads
    drawing = draw_textured(supersampled(select("numba"), placed(vertices, *place), triangles, SIZE), uv, textures)
    return canny(drawing.picture(0).numpy(), SIGMA), drawing.coverage.numpy() > 0.5


def test_edges_of_the_surface_are_found_at_one_place_by_all_views(heads):
    edges, covered = view(heads)
    inner = edges & masks.erode(covered, 6)
    agreed = votes(heads) >= 0.75 * 255
    assert inner.sum((1, 2)).min() > 40
    assert np.mean(agreed[inner]) > 0.9
    assert np.mean(masks.dilate(inner, 2.9)[agreed]) > 0.97


def test_outlines_get_no_votes_and_neither_does_a_plain_face(heads):
    plain = torch.full_like(heads[3], 120)
    assert not votes(heads, plain).any()
    edges, covered = view(heads)
    rim = edges & ~masks.erode(covered, 1.5)
    assert rim.any() and not votes(heads)[rim].any()


def test_without_turns_the_view_itself_votes(heads):
    edges, covered = view(heads)
    expected = masks.dilate(edges & masks.erode(covered, 2 * SIGMA), 1.5)
    found = votes(heads, turns=TURNS[:0])
    assert set(np.unique(found)) == {0, 255}
    assert np.mean((found > 0) == expected) > 0.995


def test_a_face_has_the_same_votes_in_any_company(heads):
    together = votes(heads)
    for i in range(2):
        assert np.array_equal(votes(heads, take=slice(i, i + 1))[0], together[i])
