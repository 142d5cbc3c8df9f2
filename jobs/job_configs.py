"""The configuration of each job: its sections, in the order in which their operators run."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from jobs.config import JobConfig
from jobs.execution import ExecutionConfig
from jobs.sources import SourceConfig
from jobs.storage import StorageConfig
from operators.artifacts import ArtifactEncoderConfig
from operators.faces.aligner import FaceAlignerConfig
from operators.faces.detector import FaceDetectorConfig
from operators.faces.landmarker import FaceLandmarkerConfig
from operators.faces.paste import FacePasterConfig
from operators.hole import HolePlannerConfig
from operators.images import ImageDecoderConfig
from operators.inpaint.prior import PriorInpainterConfig
from operators.inpaint.telea import TeleaInpainterConfig
from operators.morphable.fitter import MorphableFitterConfig
from operators.morphable.render import FaceRendererConfig
from operators.segment.grabcut import GrabcutSegmenterConfig
from operators.segment.sam import SamSegmenterConfig

_KIND = Field(discriminator="kind")


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
    fit: MorphableFitterConfig = MorphableFitterConfig()
    render: FaceRendererConfig = FaceRendererConfig()
    hole: HolePlannerConfig = HolePlannerConfig()
    inpaint: Annotated[PriorInpainterConfig | TeleaInpainterConfig, _KIND] = PriorInpainterConfig()
    paste: FacePasterConfig = FacePasterConfig()
    artifacts: ArtifactEncoderConfig = ArtifactEncoderConfig()
    storage: StorageConfig = StorageConfig()
    execution: ExecutionConfig = ExecutionConfig()


JOBS: dict[str, type[JobConfig]] = {config.job: config for config in (ReconstructConfig,)}
