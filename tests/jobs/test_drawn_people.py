import json

import numpy as np
import pytest

from jobs.drawn_people import draw_people, people_in
from jobs.sources import SourceConfig, SourceError, list_shards
from operators.faces.ibug68 import ibug68_from_mesh
from operators.images import decode_rgb
from operators.morphable.bases import load_basis
from operators.portrait import PortraitMaker


def test_the_address_says_how_many_and_from_where():
    assert people_in("people:12") == (12, 0) and people_in("people:3@40") == (3, 40)
    assert people_in("people:") is None and people_in("people/") is None
    shards = list_shards("people:5@7", config=SourceConfig(images_per_shard=2))
    assert [name for shard in shards for name, _ in shard.files] == [f"nobody-{i:06d}" for i in range(7, 12)]
    assert len({shard.name for shard in shards}) == 3
    with pytest.raises(SourceError, match="nobody"):
        list_shards("people:0")


def test_a_number_is_a_person_and_the_json_is_the_truth():
    (first, text), (second, _) = draw_people([4, 5])
    ((again, same),) = draw_people([4])
    assert first == again and text == same and first != second
    drawn = json.loads(text)["drawn"]
    portrait = PortraitMaker(load_basis("open_face"), most_yaw_deg=45.0)(4)
    assert (decode_rgb(first) == portrait.image).all()
    assert np.allclose(drawn["rotation_deg"], portrait.rotation_deg, atol=1e-4)
    assert np.allclose(drawn["landmarks68_px"], ibug68_from_mesh(portrait.landmarks_px[None])[0], atol=1e-3)
    assert len(drawn["identity"]) == len(load_basis("open_face").identity)
