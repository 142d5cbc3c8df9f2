"""Config -> the ordered list of operators, with what each reads, what may be forgotten after it, and where it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.config import ConfigError, JobConfig
from jobs.sidecars import PICTURE_ROLES
from operators.artifacts import ArtifactEncoder, ArtifactEncoderConfig
from operators.assets import AssetStore, read_lock, sha256_of
from operators.batch import Batch
from operators.checkpoints.errors import CheckpointError
from operators.checkpoints.open import converted, identity
from operators.checkpoints.registry import system_of
from operators.columns import FACE_COLUMNS, ROW_COLUMNS
from operators.faces.aligner import FaceAligner, FaceAlignerConfig
from operators.faces.detector import FaceDetector, FaceDetectorConfig
from operators.faces.landmarker import FaceLandmarker, FaceLandmarkerConfig
from operators.faces.paste import FacePaster, FacePasterConfig
from operators.first_face import FaceChooser, FaceChooserConfig
from operators.hole import HolePlanner, HolePlannerConfig
from operators.images import ImageDecoder, ImageDecoderConfig
from operators.inpaint.edgeconnect import EdgeConnectInpainter, EdgeConnectInpainterConfig
from operators.inpaint.facefill3d import FaceFillInpainter, FaceFillInpainterConfig
from operators.inpaint.lama import LamaInpainter, LamaInpainterConfig
from operators.inpaint.mat import MatInpainter, MatInpainterConfig
from operators.inpaint.prior import PriorInpainter, PriorInpainterConfig
from operators.inpaint.telea import TeleaInpainter, TeleaInpainterConfig
from operators.inpaint.tfill import TfillInpainter, TfillInpainterConfig
from operators.inpaint.whole import BaselineFiller, BaselineFillerConfig
from operators.metrics.features import FeatureExtractor, FeatureExtractorConfig
from operators.metrics.identity import IdentityEmbedder, IdentityEmbedderConfig
from operators.metrics.measurer import PixelMeasurer, PixelMeasurerConfig
from operators.metrics.perceptual import PerceptualMeasurer, PerceptualMeasurerConfig
from operators.morphable.bases import basis_path
from operators.morphable.fitter import MorphableFitter, MorphableFitterConfig
from operators.morphable.render import FaceRenderer, FaceRendererConfig
from operators.preprocess import PairPreparer, PairPreparerConfig
from operators.regress.regressor import FaceRegressor, FaceRegressorConfig
from operators.segment.grabcut import GrabcutSegmenter, GrabcutSegmenterConfig
from operators.segment.sam import SamSegmenter, SamSegmenterConfig
from operators.sheets import ResultSheet, ResultSheetConfig, SampleSheet, SampleSheetConfig
from operators.synthesize.masker import FaceMasker, TemplateMaskerConfig, WornMaskerConfig
from operators.types import Operator, OperatorConfig

OPERATORS: dict[type[OperatorConfig], type[Any]] = {
    ImageDecoderConfig: ImageDecoder,
    FaceDetectorConfig: FaceDetector,
    FaceLandmarkerConfig: FaceLandmarker,
    FaceAlignerConfig: FaceAligner,
    GrabcutSegmenterConfig: GrabcutSegmenter,
    SamSegmenterConfig: SamSegmenter,
    MorphableFitterConfig: MorphableFitter,
    FaceRegressorConfig: FaceRegressor,
    FaceRendererConfig: FaceRenderer,
    HolePlannerConfig: HolePlanner,
    PriorInpainterConfig: PriorInpainter,
    TeleaInpainterConfig: TeleaInpainter,
    EdgeConnectInpainterConfig: EdgeConnectInpainter,
    LamaInpainterConfig: LamaInpainter,
    MatInpainterConfig: MatInpainter,
    TfillInpainterConfig: TfillInpainter,
    FaceFillInpainterConfig: FaceFillInpainter,
    FacePasterConfig: FacePaster,
    ArtifactEncoderConfig: ArtifactEncoder,
    WornMaskerConfig: FaceMasker,
    TemplateMaskerConfig: FaceMasker,
    SampleSheetConfig: SampleSheet,
    PairPreparerConfig: PairPreparer,
    BaselineFillerConfig: BaselineFiller,
    PixelMeasurerConfig: PixelMeasurer,
    PerceptualMeasurerConfig: PerceptualMeasurer,
    FeatureExtractorConfig: FeatureExtractor,
    FaceChooserConfig: FaceChooser,
    IdentityEmbedderConfig: IdentityEmbedder,
    ResultSheetConfig: ResultSheet,
}
"""Which operator a config belongs to; the order of operators is that of the job config's sections."""

# Fields that name a file whose content decides the result.
_FILE_FIELDS = ("basis",)
_WRITTEN = ("restored_bytes", "artifact_bytes", "sample_bytes")


@dataclass(frozen=True)
class Stage:
    """One operator of the plan; `drops` are the columns that nothing after it reads."""

    section: str
    operator: type[Any]
    config: OperatorConfig
    drops: tuple[str, ...] = field(default=())

    def build(self, assets: Any, device: str) -> Operator:
        """The operator, loaded; called in the process that runs it."""
        return self.operator(self.config, assets, device if self.operator.info.wants_gpu else "cpu")

    @property
    def version(self) -> str:
        """name@version, part of the fingerprint."""
        return f"{self.operator.info.name}@{self.operator.info.version}"


def plan_stages(config: JobConfig) -> tuple[Stage, ...]:
    """The operators that a config chooses, in order."""
    sections = [(name, getattr(config, name)) for name in type(config).model_fields if config.uses(name)]
    return with_drops([Stage(name, OPERATORS[type(chosen)], chosen) for name, chosen in sections if type(chosen) in OPERATORS])


def operator_versions(stages: Sequence[Stage]) -> dict[str, str]:
    """Section -> operator@version."""
    return {stage.section: stage.version for stage in stages}


def asset_names(stages: Sequence[Stage]) -> tuple[str, ...]:
    """Assets of the lock file that the stages need."""
    return tuple(dict.fromkeys(name for stage in stages for name in stage.operator.info.assets))


def asset_hashes(stages: Sequence[Stage]) -> dict[str, str]:
    """SHA-256 of everything that the stages load: assets by name, files by `section.field`.

    Errors: ConfigError when a file that the config names does not exist.
    """
    names = asset_names(stages)
    lock = read_lock() if names else {}
    hashes = {name: lock[name].sha256 for name in names}
    for stage in stages:
        for field_name in _FILE_FIELDS:
            value = getattr(stage.config, field_name, "")
            if not value:
                continue
            try:
                path = basis_path(value) if field_name == "basis" else Path(value)
            except FileNotFoundError as error:
                raise ConfigError(f"{stage.section}.{field_name}: {error}") from error
            if path is not None and not path.is_file():
                raise ConfigError(f"{stage.section}.{field_name}: no such file: {value}")
            if path is not None:
                hashes[f"{stage.section}.{field_name}"] = sha256_of(path.read_bytes())
        hashes |= _checkpoints(stage) | _own_files(stage) | _optional_weights(stage)
    return hashes


def _checkpoints(stage: Stage) -> dict[str, str]:
    """One hash for the official files behind each checkpoint that the config names."""
    hashes = {}
    for field_name, system in getattr(stage.config, "checkpoints", {}).items():
        try:
            hashes[f"{stage.section}.{field_name}"] = identity(system, getattr(stage.config, field_name))
        except CheckpointError as error:
            raise ConfigError(f"{stage.section}.{field_name}: {error}") from error
    return hashes


def convert_checkpoints(stages: Sequence[Stage]) -> None:
    """Read, check and convert every official file that the config names, once, before any worker starts.

    Errors: ConfigError for a file that cannot be used.
    """
    store = AssetStore()
    for stage in stages:
        for field_name, system in getattr(stage.config, "checkpoints", {}).items():
            try:
                converted(system_of(system), getattr(stage.config, field_name), store)
            except CheckpointError as error:
                raise ConfigError(f"{stage.section}.{field_name}: {error}") from error


def refuse_licences(stages: Sequence[Stage], accepted: Sequence[str]) -> list[str]:
    """A line about the licence of every official network that the stages run.

    Errors: ConfigError, with the terms, for a non-commercial one that `accepted` does not name.
    """
    used = [(stage.section, system_of(name)) for stage in stages for name in getattr(stage.config, "checkpoints", {}).values()]
    missing = list(
        dict.fromkeys(system.licence for _, system in used if system.non_commercial and system.licence not in accepted)
    )
    if missing:
        terms = [f"{section}: {system.title} is {system.licence}: {system.terms} ({system.page})"
                 for section, system in used if system.licence in missing]  # fmt: skip
        names = ",".join([*accepted, *missing])
        raise ConfigError(
            "\n".join([*terms, f"to accept: --accept_licences {names}, or accept_licences: [{names}] in the config"])
        )
    return [f"{section}: {system.title}, {system.licence}" for section, system in used]


def _own_files(stage: Stage) -> dict[str, str]:
    """One hash for the files that a field names (`config.files`)."""
    hashes = {}
    try:
        for field_name, files in getattr(stage.config, "files", {}).items():
            parts = [f"{name}\0{sha256_of(path.read_bytes())}" for name, path in sorted(files.items())]
            hashes[f"{stage.section}.{field_name}"] = sha256_of("\n".join(parts).encode())
    except FileNotFoundError as error:
        raise ConfigError(f"{stage.section}: no such file: {error.filename}") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{stage.section}: {error}") from error
    return hashes


def _optional_weights(stage: Stage) -> dict[str, str]:
    """Weights that a stage takes where they are: their source's SHA-256, so that a run with them is not one without."""
    names = getattr(stage.config, "weights", ())
    if not names:
        return {}
    store = AssetStore()
    return {name: store.source_sha256(name) or "not available" for name in names}


def unavailable(stages: Sequence[Stage]) -> dict[str, str]:
    """Section -> what it lacks, for stages whose weights are not on this machine."""
    store = AssetStore()
    lacking = {s.section: s.operator.unavailable(s.config, store) for s in stages if hasattr(s.operator, "unavailable")}
    return {section: "; ".join(notes) for section, notes in lacking.items() if notes}


def with_drops(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """The stages, each told which columns are dead after it: no later operator reads them and no output holds them.

    Errors: ValueError when an operator reads a column that nothing before it writes.
    """
    read = {name for stage in stages for name in stage.operator.info.reads}
    alive = {"image_bytes", *(name for name in PICTURE_ROLES.values() if name in read)}
    planned = []
    for i, stage in enumerate(stages):
        info = stage.operator.info
        for name in info.reads + info.writes:
            if name not in ROW_COLUMNS and name not in FACE_COLUMNS:
                raise ValueError(f"{info.name} names column {name!r}: declare it in operators/columns.py")
        alive |= set(info.writes)
        wanted = {name for later in stages[i + 1 :] for name in later.operator.info.reads}
        dead = sorted(name for name in alive if _is_bulk(name) and name not in wanted)
        alive -= set(dead)
        planned.append(Stage(stage.section, stage.operator, stage.config, tuple(dead)))
    return tuple(planned)


def prune(batch: Batch, stage: Stage) -> Batch:
    """The batch without the columns that are dead after this stage, whether or not it crosses to another process."""
    if not stage.drops:
        return batch
    if "image_bytes" in stage.drops:  # decoded frames would outlive their bytes inside one process only
        batch, limits = Batch(batch.rows, batch.faces, batch.face_row), batch.limits
        batch.limits = limits
    batch.drop(stage.drops)
    return batch


def _is_bulk(name: str) -> bool:
    column = ROW_COLUMNS.get(name) or FACE_COLUMNS[name]
    return not column.manifest and name not in _WRITTEN
