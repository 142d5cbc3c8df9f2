"""face3d's BFM.mat with the inverse-rendering regressor's files: its numbers are the base's, its faces those of its code."""

import numpy as np
import pytest
from scipy.io import savemat

from operators.morphable.bases.convert import convert
from operators.morphable.basis import BasisError
from operators.regress.inverse_rendering import CONVENTION
from tests.operators.morphable.bases.stand_ins import FULL, sheet, smooth_modes

COUNTS = {"Shape": 4, "Exp": 3, "Tex": 2}


def write(folder, **changes):
    """The three files, with one mode more than the statistics know; and what is in them."""
    folder.mkdir(parents=True, exist_ok=True)
    full, random = sheet(FULL), np.random.default_rng(0)
    columns = {name: smooth_modes(full.vertices, count + 1, k).reshape(count + 1, -1).T.astype(np.float32) * 5e-3
               for k, (name, count) in enumerate(COUNTS.items())}  # fmt: skip
    data = {
        "shapeMU": (full.vertices * 1e4).reshape(-1, 1).astype(np.float32), "expMU": np.full((3 * FULL, 1), 50.0),
        "shapePC": columns["Shape"], "texPC": columns["Tex"], "texMU": np.full((3 * FULL, 1), 140.0),
        "tri": (full.triangles.T + 1).astype(np.float64), "kpt_ind": (full.landmarks[None] + 1).astype(np.float64),
    } | changes  # fmt: skip
    savemat(folder / "BFM.mat", {"model": data})
    extra = np.full((3 * FULL, 1), 25.0)
    np.savez(folder / "exp_80k.npz", expMU=extra, expPC=columns["Exp"])
    stats = {}
    for name, size in zip(COUNTS, (3e5, 1e5, 2e3), strict=True):
        stats |= {
            f"{name}_Para_mean": size * random.normal(size=COUNTS[name]),
            f"{name}_Para_std": size * random.uniform(0.5, 1, COUNTS[name]),
        }
    np.savez(folder / "stats_80k.npz", **stats)
    return data, extra, columns, stats


def test_numbers_are_the_regressors_and_faces_the_official_ones(tmp_path):
    data, extra, columns, stats = write(tmp_path)
    basis, used = convert("bfm2009_full", [tmp_path])
    assert set(used) >= {"BFM.mat", "exp_80k.npz", "stats_80k.npz"}
    assert basis.native is not None and basis.native.convention.startswith(CONVENTION)
    official = {name: np.random.default_rng(1).normal(size=count) * stats[f"{name}_Para_std"] for name, count in COUNTS.items()}
    shape = data["shapeMU"] + data["expMU"] + extra
    for name in ("Shape", "Exp"):
        shape = shape + (columns[name][:, : COUNTS[name]] @ official[name])[:, None]
    texture = data["texMU"] + (columns["Tex"][:, : COUNTS["Tex"]] @ official["Tex"])[:, None]
    parts = dict(zip(("identity", "expression", "albedo"), COUNTS, strict=True))
    ours = {part: basis.native.from_official(part, official[name]) for part, name in parts.items()}
    found = basis.mean + sum(np.einsum("k,kvc->vc", ours[part], getattr(basis, part)) for part in ("identity", "expression"))
    assert np.abs((found + basis.native.origin) * 1e5 - shape.reshape(-1, 3)).max() < 2.0  # micrometres
    albedo = basis.albedo_mean + np.einsum("k,kvc->vc", ours["albedo"], basis.albedo)
    assert np.abs(albedo * 255 - texture.reshape(-1, 3)).max() < 0.01


@pytest.mark.parametrize(
    "changes", [{"kpt_ind": np.ones((1, 5))}, {"shapePC": np.zeros((30, 5), np.float32)}, {"tri": np.full((3, 9), 9e6)}]
)
def test_other_files_are_named(tmp_path, changes):
    write(tmp_path, **changes)
    with pytest.raises(BasisError, match=r"BFM\.mat"):
        convert("bfm2009_full", [tmp_path])


def test_no_struct_is_named(tmp_path):
    write(tmp_path)
    savemat(tmp_path / "BFM.mat", {"faces": np.zeros(3)})
    with pytest.raises(BasisError, match=r"BFM\.mat.*struct `model`"):
        convert("bfm2009_full", [tmp_path])
