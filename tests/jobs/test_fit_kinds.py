"""The main job with the fits of configs/fit, on formula weights and a made-up face base."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from jobs.config import ConfigError, load
from jobs.job_configs import ReconstructConfig
from jobs.run import execute, prepare
from tests.official import deep3d as official
from tests.operators.regress.faces import save_base

pytestmark = pytest.mark.usefixtures("own_cache")
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "fit"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    """A base, and a checkpoint whose faces are near the mean."""
    root = tmp_path_factory.mktemp("made")
    weights = {key: value * (0.05 if "final_layers" in key else 1) for key, value in official.state(18).items()}
    torch.save(official.checkpoint(weights), root / "epoch_20.pth")
    return {"base": save_base(root / "base.npz"), "checkpoint": root / "epoch_20.pth"}


def run(made: dict[str, Path], out: Path, config: str, **changes: str) -> dict:
    """The row of a person who does not exist."""
    base = str(made["base"])
    fields = {
        "input": "people:1", "output": str(out), "execution.kind": "inline", "execution.report_images": "0",
        "fit.checkpoint": str(made["checkpoint"]), "fit.basis": base, "render.basis": base, "render.mesh": "false",
        "render.views_deg": "0", "artifacts.views": "false", "artifacts.mesh": "false",
    }  # fmt: skip
    fields |= {name.replace("__", "."): value for name, value in changes.items()}
    execute(prepare(load(ReconstructConfig, CONFIGS / config, list(fields.items()))))
    (row,) = pq.read_table(next(out.glob("manifest/**/*.parquet"))).to_pylist()
    return row


def test_a_regressor_fits_by_config_alone(made, tmp_path):
    (face,) = run(made, tmp_path / "out", "deep3d.yaml")["faces"]
    assert face["face_status"] in ("ok", "nothing_to_fill"), face["face_message"]  # nobody wears a mask here
    assert len(face["identity"]) == 80 and len(face["expression"]) == 64 and len(face["albedo"]) == 80
    assert np.isfinite(face["light"]).all() and 3 * 256 < face["focal_px"] < 7 * 256


def test_a_regressor_starts_the_optimiser_by_config_alone(made, tmp_path):
    changes = {"fit.max_steps": "1", "fit.appearance": "false"}
    (led,) = run(made, tmp_path / "led", "deep3d_start.yaml", **changes)["faces"]
    assert led["face_status"] in ("ok", "nothing_to_fill") and led["focal_px"] == 4 * 256


def test_a_non_commercial_regressor_has_to_be_accepted(tmp_path):
    overrides = [("input", "people:1"), ("output", str(tmp_path)), ("accept_licences", "")]
    config = load(ReconstructConfig, CONFIGS / "inverse_rendering.yaml", overrides)
    with pytest.raises(ConfigError, match="FaceFusion-non-commercial"):
        prepare(config)


@pytest.mark.parametrize("name", ["deep3d.yaml", "deep3d_start.yaml", "inverse_rendering.yaml"])
def test_shipped_configs_load(name):
    assert (
        load(ReconstructConfig, CONFIGS / name).fit.basis == load(ReconstructConfig, CONFIGS / name).render.basis != "open_face"
    )
