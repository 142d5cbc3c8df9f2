import pytest
import torch

from jobs.benchmarks.rasterize import agreement, edge_distance, floor_ms
from jobs.benchmarks.rasterize_meshes import posed_faces, relief
from operators.rasterize import Fragments, select


def test_distance_of_a_centre_to_the_nearest_edge():
    vertices = torch.tensor([[[0, 0, 1.0], [8, 0, 1.0], [0, 8, 1.0]]])
    index = select("numba")(vertices, torch.tensor([[0, 2, 1]]), 8, 8).pix_to_face
    distance = edge_distance(vertices, torch.tensor([[0, 2, 1]]), index)[0]
    assert float(distance[1, 2]) == pytest.approx(1.5) and float(distance[2, 4]) == pytest.approx(1 / 2**0.5)
    assert torch.isinf(distance[7, 7])


def test_agreement_counts_pixels_near_and_away_from_edges():
    vertices, triangles = relief(400, 1, 64)
    ours = select("numba")(vertices, triangles, 64, 64)
    same = agreement(vertices, triangles, ours, ours)
    assert same["differ"] == 0 and same["equal"] == same["equal_covered"] == 1 and same["max_barycentric"] == 0
    other = ours.pix_to_face.clone()
    other[0, 32, 32] = -1
    found = agreement(vertices, triangles, ours, Fragments(other, ours.barycentric, ours.depth))
    assert found["differ"] == found["differ_away"] == 1


def test_meshes_are_of_the_size_they_claim():
    vertices, triangles = relief(1000, 3, 128)
    covered = (select("numba")(vertices, triangles, 128, 128).pix_to_face >= 0).float().mean()
    assert abs(vertices.shape[1] - 1000) < 50 and 0.3 < covered < 0.5
    faces, triangles = posed_faces("open_face", 3, 64, 90.0)
    assert faces.shape[:1] == (3,) and (select("numba")(faces, triangles, 64, 64).pix_to_face >= 0).flatten(1).any(1).all()


def test_floor_grows_with_the_work():
    small, large = floor_ms(1000, 2000, 5000, 64), floor_ms(9000, 18000, 30000, 256)
    assert all(0 < small[name] < large[name] for name in small)
