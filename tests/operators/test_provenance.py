from __future__ import annotations

import numpy as np
import pytest

from operators.images import decode_rgb, encode
from operators.provenance import read_provenance, software, xmp_packet


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_mark_survives_in_every_format(format):
    packet = xmp_packet("trainedAlgorithmicMedia", detail='prior "1" & <more>')
    data = encode(np.zeros((8, 8, 3), np.uint8), format, quality=100, xmp=packet)
    found = read_provenance(data)
    assert found["digital_source_type"] == "trainedAlgorithmicMedia"
    assert found["software"] == f'{software()} (prior "1" & <more>)'
    assert decode_rgb(data).shape == (8, 8, 3)


def test_same_arguments_same_bytes():
    assert xmp_packet("compositeSynthetic", "x") == xmp_packet("compositeSynthetic", "x")


def test_unmarked_file_has_no_provenance():
    assert read_provenance(encode(np.zeros((8, 8, 3), np.uint8))) == {}
