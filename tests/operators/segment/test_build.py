import pytest

from operators.segment.build import SEGMENTERS, build_segmenter
from operators.segment.grabcut import GrabcutSegmenter, GrabcutSegmenterConfig
from operators.segment.sam import SamSegmenterConfig


def test_kind_names_the_segmenter():
    assert isinstance(build_segmenter(GrabcutSegmenterConfig(iterations=1)), GrabcutSegmenter)
    with pytest.raises(FileNotFoundError):
        build_segmenter(SamSegmenterConfig(checkpoint="missing.pth"))


def test_both_kinds_write_the_same_columns():
    for kind, (config, segmenter) in SEGMENTERS.items():
        assert config().kind == kind
        assert set(segmenter.info.writes) == set(GrabcutSegmenter.info.writes)
        assert set(segmenter.info.reads) == set(GrabcutSegmenter.info.reads)
