import numpy as np

from operators.faces.canonical import UPPER_FACE, canonical_mesh, whole_face_from_upper
from operators.morphable.camera import rotation_from_deg


def turned(angles, scale=20.0, shift=(100.0, 80.0, 5.0)):
    import torch

    rotation = rotation_from_deg(torch.tensor([angles], dtype=torch.float64))[0].numpy()
    return scale * canonical_mesh() @ rotation.T + np.array(shift)


def test_a_similar_face_is_found_whole_from_its_upper_half():
    faces = np.stack([turned((10.0, 35.0, -8.0)), turned((-5.0, -50.0, 20.0), scale=7.0)])
    broken = faces.copy()
    lower = np.setdiff1d(np.arange(468), UPPER_FACE)
    broken[:, lower] = 0
    np.testing.assert_allclose(whole_face_from_upper(broken), faces, atol=1e-6)


def test_no_mirror_image_is_used():
    mirrored = turned((0.0, 20.0, 0.0)) * (-1.0, 1.0, 1.0)
    whole = whole_face_from_upper(mirrored[None])[0]
    nose, cheeks = whole[4], whole[[234, 454]].mean(0)
    assert np.linalg.norm(whole - mirrored, axis=1).max() > 1.0
    assert np.isfinite(whole).all() and np.linalg.norm(nose - cheeks) > 1.0


def test_the_canonical_face_looks_at_the_camera():
    mesh = canonical_mesh()
    assert mesh.shape == (468, 3)
    assert mesh[10, 1] < mesh[152, 1] and mesh[4, 2] < mesh[234, 2] and mesh[33, 0] < mesh[263, 0]
