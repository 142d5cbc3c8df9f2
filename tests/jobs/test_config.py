import dataclasses
import json
from pathlib import Path

import pytest

from jobs.config import ConfigError, document, load, own_leaves
from jobs.fields import leaves
from jobs.job_configs import JOBS, ReconstructConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def wrong(text: str, folder: Path) -> str:
    file = folder / "job.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(ReconstructConfig, file)
    return str(caught.value)


KINDS = "prior, telea, navier_stokes, edgeconnect, lama, mat, tfill, facefill3d"


@pytest.mark.parametrize("model", JOBS.values(), ids=JOBS.keys())
def test_shipped_config_is_the_default_and_names_every_field(model):
    file = CONFIGS / f"{model.job}.yaml"
    text = file.read_text()
    assert load(model, file) == model()
    assert text.endswith(document(model())), f"make it anew with `unmask config {model.job}`, below its first comment"
    for leaf in own_leaves(model):
        assert f"{leaf.path.rpartition('.')[2]}:" in text


def test_documented_yaml_of_any_config_loads_back(tmp_path):
    config = load(
        ReconstructConfig,
        None,
        [("inpaint.kind", "telea"), ("render.views_deg", "-45,45"), ("input", "a: b # c"), ("segment.kind", "sam")],
    )
    (tmp_path / "job.yaml").write_text(document(config))
    assert load(ReconstructConfig, tmp_path / "job.yaml") == config


def test_overrides_win_over_the_file(tmp_path):
    (tmp_path / "job.yaml").write_text("detect: {max_faces: 3, min_face_px: 40}\ninpaint: {kind: telea, radius_px: 2}\n")
    config = load(
        ReconstructConfig,
        tmp_path / "job.yaml",
        [("detect.max_faces", "7"), ("execution.pools.detect.num_cpus", "0.5"), ("input", "12")],
    )
    assert (config.detect.max_faces, config.detect.min_face_px, config.inpaint.radius_px) == (7, 40, 2.0)
    assert (config.execution.pools.detect.num_cpus, config.input) == (0.5, "12")


def test_another_kind_drops_the_fields_of_the_old_one(tmp_path):
    (tmp_path / "job.yaml").write_text("inpaint: {kind: telea, radius_px: 2, batch_size: 5}\n")
    inpaint = load(ReconstructConfig, tmp_path / "job.yaml", [("inpaint.kind", "prior")]).inpaint
    assert (inpaint.kind, inpaint.batch_size) == ("prior", 5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("detect: {max_face: 3}", "detect.max_face: no such field, did you mean detect.max_faces?"),
        ("detekt: {max_faces: 3}", "detekt: no such section, did you mean detect?"),
        ("detect: {max_faces: many}", "detect.max_faces: expected int, got 'many'"),
        (
            "detect: {keep: larges}",
            "detect.keep: 'larges' is none of all, largest, most_confident, central, did you mean largest?",
        ),
        ("inpaint: {kind: tela}", f"inpaint.kind: 'tela' is none of {KINDS}, did you mean telea?"),
        ("inpaint: {kind: prior, radius_px: 3}", "inpaint.radius_px: inpaint of kind prior has no such field, kind telea"),
        ("detect: 3", "detect: expected fields, got 3"),
        ("execution: {pools: {detect: {size: 2, max_size: 3}}}", "size and min_size/max_size exclude each other"),
        ("storage: {endpoint: 'http://user:word@host'}", "the endpoint contains credentials"),
        ("detect: {score_threshold: .nan}", "detect.score_threshold"),
        ("[1, 2]", "expected sections with fields, got list"),
        ("a: [", "no valid YAML"),
        ("!!python/object/apply:os.system ['true']", "no valid YAML"),
    ],
)
def test_wrong_fields_get_one_line_each(text, said, tmp_path):
    assert said in wrong(text, tmp_path)


def test_all_wrong_fields_are_told_at_once(tmp_path):
    lines = wrong("detect: {max_face: 3, keep: x}\nhole: {margin: wide}\n", tmp_path).splitlines()
    assert len(lines) == 3


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        load(ReconstructConfig, tmp_path / "none.yaml")


def test_fingerprint_follows_the_output_and_nothing_else():
    operators, assets = {"detect": "finder@1"}, {"net": "00"}
    base = ReconstructConfig().fingerprint(operators, assets)
    same = [("input", "x"), ("output", "y"), ("execution.kind", "pools"), ("storage.region", "z")]
    assert all(load(ReconstructConfig, None, [change]).fingerprint(operators, assets) == base for change in same)
    others = [load(ReconstructConfig, None, [("detect.max_faces", "3")]).fingerprint(operators, assets)]
    others += [
        ReconstructConfig().fingerprint({"detect": "finder@2"}, assets),
        ReconstructConfig().fingerprint(operators, {"net": "01"}),
    ]
    assert len({base, *others}) == 4


def test_every_field_has_help_and_a_json_default():
    for leaf in leaves(ReconstructConfig):
        assert leaf.help, leaf.path
        json.dumps(leaf.default)


def test_operator_configs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ReconstructConfig().detect.max_faces = 3  # type: ignore[misc]
