import numpy as np
import pytest

from jobs.config import ConfigError, load
from jobs.job_configs import ReconstructConfig
from jobs.plan import OPERATORS, Stage, asset_hashes, plan_stages, prune, with_drops
from operators.batch import Batch
from operators.columns import FACE_COLUMNS, ROW_COLUMNS
from operators.inpaint.telea import TeleaInpainter
from operators.types import OperatorConfig, OperatorInfo
from tests.jobs.stubs import stub_stages


def test_stages_follow_the_sections_and_the_chosen_kinds():
    stages = plan_stages(load(ReconstructConfig, None, [("inpaint.kind", "telea")]))
    others = ("input", "output", "source", "accept_licences", "storage", "execution")
    assert [stage.section for stage in stages] == [name for name in ReconstructConfig.model_fields if name not in others]
    assert stages[8].operator is TeleaInpainter


def test_every_config_of_a_run_has_an_operator():
    for config, operator in OPERATORS.items():
        assert operator.info.name and issubclass(config, OperatorConfig)


def test_columns_are_dropped_once_nothing_later_reads_them():
    drops = {stage.section: stage.drops for stage in stub_stages()}
    assert drops == {
        "decode": (),
        "detect": ("crop_valid",),
        "inpaint": ("crop",),
        "paste": ("image_bytes", "inpainted"),
    }


def test_default_plan_never_drops_what_is_read_later_or_written_out():
    stages = plan_stages(ReconstructConfig())
    gone: set[str] = set()
    for stage in stages:
        assert not gone & set(stage.operator.info.reads), stage.section
        gone |= set(stage.drops)
    columns = {**ROW_COLUMNS, **FACE_COLUMNS}
    assert not [name for name in gone if columns[name].manifest or name in ("restored_bytes", "artifact_bytes")]
    bulk = {name for name, column in columns.items() if not column.manifest} - {"restored_bytes", "artifact_bytes"}
    assert gone == bulk & ({"image_bytes", "given_mask_bytes"} | {n for s in stages for n in s.operator.info.writes})


def test_unknown_columns_are_refused():
    class Odd:
        info = OperatorInfo("odd", "1", ("nose",), ())

    with pytest.raises(ValueError, match="nose"):
        with_drops([Stage("detect", Odd, OperatorConfig())])


def test_pruned_image_bytes_are_gone_for_everyone():
    batch = Batch.from_images([b"abc"])
    batch._frames[0] = np.zeros((1, 1, 3), np.uint8)
    batch = prune(batch, stub_stages()[-1])
    assert batch.rows["image_bytes"] == [None] and not batch._frames


def test_files_that_decide_results_are_hashed(tmp_path):
    checkpoint = tmp_path / "sam.safetensors"
    checkpoint.write_bytes(b"one")
    choice = [("segment.kind", "sam"), ("segment.checkpoint", str(checkpoint))]
    first = asset_hashes(plan_stages(load(ReconstructConfig, None, choice)))
    checkpoint.write_bytes(b"two")
    second = asset_hashes(plan_stages(load(ReconstructConfig, None, choice)))
    assert {name for name in first if first[name] != second[name]} == {"segment.checkpoint"}
    with pytest.raises(ConfigError, match=r"segment\.checkpoint: such: expected one of sam_.*, found no such path"):
        asset_hashes(plan_stages(load(ReconstructConfig, None, [("segment.kind", "sam"), ("segment.checkpoint", "/no/such")])))


def test_a_base_that_is_not_here_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("UNMASK_CACHE", str(tmp_path))
    for name, message in (("flame2020", "explain flame2020"), ("flame", "no face base 'flame'")):
        with pytest.raises(ConfigError, match=rf"fit\.basis: .*{message}"):
            asset_hashes(plan_stages(load(ReconstructConfig, None, [("fit.basis", name), ("render.basis", name)])))
    assert "fit.basis" in asset_hashes(plan_stages(load(ReconstructConfig, None, [])))
    synthetic = [("fit.basis", "synthetic"), ("render.basis", "synthetic")]
    assert "fit.basis" not in asset_hashes(plan_stages(load(ReconstructConfig, None, synthetic)))
