"""Networks and public-domain photos for the face operators."""

import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image
from skimage import data

from jobs.assets import ensure

NETWORKS = ("blazeface_short_range", "face_mesh", "face_mesh_attention")


@pytest.fixture(scope="session")
def store():
    """The asset store with all face networks in it; fetched through pip the first time."""
    return ensure(NETWORKS)


@pytest.fixture(scope="session")
def astronaut():
    """NASA portrait of Eileen Collins, 512 x 512, public domain."""
    return np.ascontiguousarray(data.astronaut())


@pytest.fixture(scope="session")
def hopper():
    """US Navy portrait of Grace Hopper, public domain."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.asarray(Image.open(file).convert("RGB"))


@pytest.fixture(scope="session")
def pair(astronaut, hopper):
    """Both side by side, 512 high."""
    small = Image.fromarray(hopper[:512])
    return np.concatenate((astronaut, np.asarray(small)), axis=1)


@pytest.fixture(scope="session")
def empty():
    """A formula-made picture with no face in it."""
    ys, xs = np.mgrid[:240, :320]
    return np.stack((xs % 256, ys % 256, (xs + ys) // 3 % 256), -1).astype(np.uint8)
