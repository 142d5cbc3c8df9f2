"""Outfits said in short texts."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.synthesize.base import Outfit
from operators.synthesize.outfits import TYPES, OutfitError, OutfitShare, choose, outfit_text, parse_outfits
from operators.synthesize.prints import PRINTS


def test_types_colours_prints_files_and_shares_are_read():
    got = parse_outfits(["surgical*3", "surgical-#FFffff, cloth-dots*0.5", " cloth-my/a-check.jpg ", "N95", "none * 2"])
    assert [(item.outfit.type, item.outfit.colour, item.outfit.texture, item.share) for item in got] == [
        ("surgical", None, None, 3),
        ("surgical", (255, 255, 255), None, 1),
        ("cloth", None, "dots", 0.5),
        ("cloth", None, "my/a-check.jpg", 1),
        ("n95", None, None, 1),
        ("none", None, None, 2),
    ]


def test_strings_of_mask_the_face_are_outfits():
    got = parse_outfits("cloth-masks/textures/check/check_4.jpg, cloth-#e54294, cloth-#ff0000, cloth, N95", 0.5, 0.5)
    assert [outfit_text(item.outfit) for item in got] == [
        "cloth-masks/textures/check/check_4.jpg", "cloth-#e54294", "cloth-#ff0000", "cloth", "n95",
    ]  # fmt: skip
    assert got[1].outfit == Outfit("cloth", (0xE5, 0x42, 0x94), None, 0.5, 0.5)


def test_a_colour_may_have_a_print_over_it():
    assert parse_outfits("cloth-#204060-stripes")[0].outfit == Outfit("cloth", (32, 64, 96), "stripes", 0.85, 0.9)


@pytest.mark.parametrize(
    "text, words",
    [
        ("surgcal", "outfit 'surgcal': unknown type 'surgcal': did you mean 'surgical'?"),
        ("kn59*2", "did you mean 'kn95'?"),
        ("?", "choose one of surgical"),
        ("cloth-dotz", "outfit 'cloth-dotz': 'dotz' is no print and no picture file: did you mean 'dots'?"),
        ("cloth-#12345", "expected a colour like #0473e2, got '#12345'"),
        ("cloth-#12345g", "expected a colour"),
        ("cloth*many", "expected a number of at least 0 after *, got 'many'"),
        ("cloth*-1", "at least 0"),
        ("cloth*nan", "at least 0"),
        ("cloth*0", "share above 0"),
        (" , ", "share above 0"),
        ("-#ffffff", "unknown type ''"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(text, words):
    with pytest.raises(OutfitError) as caught:
        parse_outfits(["surgical*0", text])
    assert words in str(caught.value) and "\n" not in str(caught.value)


@given(
    st.sampled_from(TYPES),
    st.none() | st.tuples(*[st.integers(0, 255)] * 3),
    st.none() | st.sampled_from(PRINTS) | st.just("a/b-c.png"),
)
def test_every_outfit_survives_its_text(type, colour, texture):
    outfit = Outfit(type, colour, texture)
    assert parse_outfits(outfit_text(outfit), 0.5, 0.5) == (OutfitShare(outfit, 1.0),)


def test_shares_hold_and_seeds_decide():
    outfits = parse_outfits("surgical*3, cloth*1, n95*0, none*4")
    worn = [choose(outfits, seed).type for seed in range(4000)]
    assert worn == [choose(outfits, seed).type for seed in range(4000)]
    share = {type: count / 4000 for type, count in Counter(worn).items()}
    assert share == pytest.approx({"surgical": 3 / 8, "cloth": 1 / 8, "none": 4 / 8}, abs=0.03)
