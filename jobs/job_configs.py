"""The configuration of each job: its sections, in the order in which their operators run."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from jobs.config import ConfigError, JobConfig
from jobs.execution import ExecutionConfig
from jobs.results import Result, parse_result, with_results
from jobs.sources import Shard, SourceConfig
from jobs.storage import Storage, StorageConfig
from operators.artifacts import ArtifactEncoderConfig
from operators.faces.aligner import FaceAlignerConfig
from operators.faces.detector import FaceDetectorConfig
from operators.faces.landmarker import FaceLandmarkerConfig
from operators.faces.paste import FacePasterConfig
from operators.first_face import FaceChooserConfig
from operators.hole import HolePlannerConfig
from operators.images import ImageDecoderConfig
from operators.inpaint.edgeconnect import EdgeConnectInpainterConfig
from operators.inpaint.facefill3d import FaceFillInpainterConfig
from operators.inpaint.lama import LamaInpainterConfig
from operators.inpaint.mat import MatInpainterConfig
from operators.inpaint.prior import PriorInpainterConfig
from operators.inpaint.telea import TeleaInpainterConfig
from operators.inpaint.tfill import TfillInpainterConfig
from operators.inpaint.whole import BaselineFillerConfig
from operators.metrics.features import FeatureExtractorConfig
from operators.metrics.identity import IdentityEmbedderConfig
from operators.metrics.measurer import PixelMeasurerConfig
from operators.metrics.perceptual import PerceptualMeasurerConfig
from operators.morphable.fitter import MorphableFitterConfig
from operators.morphable.render import FaceRendererConfig
from operators.preprocess import PairPreparerConfig
from operators.regress.regressor import FaceRegressorConfig
from operators.segment.grabcut import GrabcutSegmenterConfig
from operators.segment.sam import SamSegmenterConfig
from operators.sheets import ResultSheetConfig, SampleSheetConfig
from operators.synthesize.masker import TemplateMaskerConfig, WornMaskerConfig

_KIND = Field(discriminator="kind")
_LICENCES = Field(
    (), description="licences of non-commercial models whose terms you accept, such as CC-BY-NC-4.0; see docs/networks.md"
)


class ReconstructConfig(JobConfig):
    """Everything that a run of `reconstruct` depends on."""

    job: ClassVar[str] = "reconstruct"
    about: ClassVar[str] = "Masked photos in, reconstructed faces out."

    input: str = Field("", description="folder, glob, file or s3:// URI of the photos")
    output: str = Field("", description="folder or s3:// URI that results go to")
    source: SourceConfig = SourceConfig()
    decode: ImageDecoderConfig = ImageDecoderConfig()
    detect: FaceDetectorConfig = FaceDetectorConfig()
    landmark: FaceLandmarkerConfig = FaceLandmarkerConfig()
    align: FaceAlignerConfig = FaceAlignerConfig()
    segment: Annotated[GrabcutSegmenterConfig | SamSegmenterConfig, _KIND] = GrabcutSegmenterConfig()
    fit: Annotated[MorphableFitterConfig | FaceRegressorConfig, _KIND] = MorphableFitterConfig()
    render: FaceRendererConfig = FaceRendererConfig()
    hole: HolePlannerConfig = HolePlannerConfig()
    inpaint: Annotated[
        PriorInpainterConfig
        | TeleaInpainterConfig
        | EdgeConnectInpainterConfig
        | LamaInpainterConfig
        | MatInpainterConfig
        | TfillInpainterConfig
        | FaceFillInpainterConfig,
        _KIND,
    ] = PriorInpainterConfig()
    paste: FacePasterConfig = FacePasterConfig()
    artifacts: ArtifactEncoderConfig = ArtifactEncoderConfig()
    accept_licences: tuple[str, ...] = _LICENCES
    storage: StorageConfig = StorageConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @property
    def accepted(self) -> tuple[str, ...]:
        """As `accept_licences` says."""
        return self.accept_licences


class SynthesizeConfig(JobConfig):
    """Everything that a run of `synthesize` depends on."""

    job: ClassVar[str] = "synthesize"
    about: ClassVar[str] = (
        "Photos of faces in, the same faces with masks and other occluders out, with the exact hole and the truth."
    )
    writes: ClassVar[str] = "samples/ artifacts/"

    input: str = Field("", description="folder, glob, file or s3:// URI of unmasked photos, or people:COUNT (drawn)")
    output: str = Field("", description="folder or s3:// URI that samples go to")
    pack: bool = Field(False, description="pack the samples of each unit into a tar (WebDataset) instead of single files")
    source: SourceConfig = SourceConfig()
    decode: ImageDecoderConfig = ImageDecoderConfig()
    detect: FaceDetectorConfig = FaceDetectorConfig()
    landmark: FaceLandmarkerConfig = FaceLandmarkerConfig()
    align: FaceAlignerConfig = FaceAlignerConfig()
    segment: Annotated[GrabcutSegmenterConfig | SamSegmenterConfig, _KIND] = GrabcutSegmenterConfig()
    fit: Annotated[MorphableFitterConfig | FaceRegressorConfig, _KIND] = MorphableFitterConfig()
    mask: Annotated[WornMaskerConfig | TemplateMaskerConfig, _KIND] = WornMaskerConfig()
    sheet: SampleSheetConfig = SampleSheetConfig()
    accept_licences: tuple[str, ...] = _LICENCES
    storage: StorageConfig = StorageConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _one_basis(self) -> SynthesizeConfig:
        if isinstance(self.mask, WornMaskerConfig) and self.mask.basis != self.fit.basis:
            raise ValueError(f"mask.basis: {self.mask.basis}, but fit.basis is {self.fit.basis}: give both the same")
        return self

    @property
    def accepted(self) -> tuple[str, ...]:
        """As `accept_licences` says."""
        return self.accept_licences

    @property
    def packed(self) -> bool:
        """As `pack` says."""
        return self.pack

    def uses(self, section: str) -> bool:
        """Templates need no 3D fit."""
        return section not in ("align", "segment", "fit") or self.mask.kind == "worn"


class PairsConfig(JobConfig):
    """Everything that a run of `pairs` depends on."""

    job: ClassVar[str] = "pairs"
    about: ClassVar[str] = (
        "Photos with masks in, training pairs of one size and format out; what has no partner is dropped and listed."
    )
    writes: ClassVar[str] = "samples/ artifacts/ dropped.csv"

    input: str = Field("", description="folder, glob, file or s3:// URI of the photos")
    output: str = Field("", description="folder or s3:// URI that pairs go to")
    pack: bool = Field(False, description="pack the pairs of each unit into a tar (WebDataset) instead of single files")
    source: SourceConfig = SourceConfig()
    decode: ImageDecoderConfig = ImageDecoderConfig()
    detect: FaceDetectorConfig = FaceDetectorConfig()
    pair: PairPreparerConfig = PairPreparerConfig()
    sheet: SampleSheetConfig = SampleSheetConfig()
    storage: StorageConfig = StorageConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _inverted_once(self) -> PairsConfig:
        if self.source.hole_colour == "black" and self.pair.hole_in == "black":
            raise ValueError("source.hole_colour and pair.hole_in are both black, which turns masks over twice: set one of them")
        if self.source.ignore_masks:
            raise ValueError("source.ignore_masks: true, but without masks there are no pairs")
        return self

    @property
    def packed(self) -> bool:
        """As `pack` says."""
        return self.pack

    def uses(self, section: str) -> bool:
        """Faces are looked for only when pictures are cut around them."""
        return section != "detect" or self.pair.crop == "face"

    def finish(self, storage: Storage) -> str | None:
        """The list of what was dropped, and the report."""
        from jobs.pairs import conclude

        dropped = conclude(self, storage)
        return super().finish(storage) or dropped


class EvaluateConfig(JobConfig):
    """Everything that a run of `evaluate` depends on."""

    job: ClassVar[str] = "evaluate"
    about: ClassVar[str] = "Results beside the truth: numbers with intervals, tables, plots and sheets."
    writes: ClassVar[str] = "artifacts/ metrics.parquet summary.json summary.md"

    input: str = Field("", description="samples with masks and truths: samples/ of a synthesis, or a folder (see source.masks)")
    output: str = Field("", description="folder or s3:// URI that the evaluation goes to")
    results: tuple[str, ...] = Field(
        ("masked", "telea"), description="what to compare: NAME=FOLDER (a run's output or pictures), masked, telea, navier_stokes"
    )
    faces: bool = Field(True, description="find faces in results and truths: for landmark error and identity")
    seconds: bool = Field(True, description="say in the tables how long runs took per picture, by their run.json")
    source: SourceConfig = SourceConfig()
    baseline: BaselineFillerConfig = BaselineFillerConfig()
    decode: ImageDecoderConfig = ImageDecoderConfig()
    pixels: PixelMeasurerConfig = PixelMeasurerConfig()
    perceptual: PerceptualMeasurerConfig = PerceptualMeasurerConfig()
    features: FeatureExtractorConfig = FeatureExtractorConfig()
    detect: FaceDetectorConfig = FaceDetectorConfig()
    landmark: FaceLandmarkerConfig = FaceLandmarkerConfig()
    choose: FaceChooserConfig = FaceChooserConfig()
    identity: IdentityEmbedderConfig = IdentityEmbedderConfig()
    sheet: ResultSheetConfig = ResultSheetConfig()
    storage: StorageConfig = StorageConfig()
    execution: ExecutionConfig = ExecutionConfig()

    def uses(self, section: str) -> bool:
        """Faces are looked for only when asked."""
        return section not in ("detect", "landmark", "choose", "identity") or self.faces

    def compared(self) -> list[Result]:
        """What is compared, the truth itself first: it is the reference of landmarks, identity and sets."""
        results = [Result("truth", "baseline", state="truth"), *(parse_result(text, self.storage) for text in self.results)]
        names = [result.method.casefold() for result in results]  # they become folders
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"results: {twice[0]} is named twice")
        return results

    def expand(self, shards: list[Shard]) -> list[Shard]:
        """Every shard of the input once for every result."""
        return with_results(shards, self.compared())

    def finish(self, storage: Storage) -> str | None:
        """The evaluation's tables, plots and report."""
        from jobs.evaluate import conclude

        return conclude(self, storage)


JOBS: dict[str, type[JobConfig]] = {
    config.job: config for config in (ReconstructConfig, SynthesizeConfig, PairsConfig, EvaluateConfig)
}
