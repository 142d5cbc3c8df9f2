"""Names from outside become safe and unique keys."""

import os
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.names import NameTable, printable, safe_key

anything = st.text(st.characters(), max_size=60) | st.text(st.sampled_from("ab/\\.~ \0:éCON1A"), max_size=30)


@settings(deadline=None)
@given(anything)
@example("")
@example("../../x")
@example("/etc/passwd")
@example("C:\\Windows\\nul.txt")
@example("x" * 5000)
@example("d/" * 3000 + "x")
@example("\ud800")
@example("..")
@example("é" * 300 + "/" + "字" * 300)
def test_a_key_is_a_safe_relative_path(name):
    key = safe_key(name)
    parts = key.split("/")
    assert all(part and part not in (".", "..") and not part.startswith((".", " ")) for part in parts)
    assert all(not part.endswith((".", " ")) for part in parts)
    assert not PurePosixPath(key).is_absolute() and not PureWindowsPath(key).drive and "\\" not in key
    assert all(len(part.encode()) <= 140 for part in parts) and len(key.encode()) <= 500
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in key)
    assert os.path.normpath(os.path.join("/base", key)).startswith("/base/")  # noqa: PTH118
    assert key == safe_key(name)


@settings(deadline=None)
@given(st.lists(anything, unique=True, max_size=8))
def test_different_names_get_different_keys(names):
    assert len({safe_key(name) for name in names}) == len(names)


@settings(deadline=None)
@given(st.lists(anything | st.sampled_from(["a", "A", "a~2", "é", "e\u0301", "x/../a", "ß", "SS"]), max_size=12))
def test_a_table_never_gives_one_key_twice_even_where_case_is_ignored(names):
    table = NameTable()
    keys = [table.key(name) for name in names]
    assert len({unicodedata.normalize("NFC", key.casefold()) for key in keys}) == len(names)


@pytest.mark.parametrize("name", ["a", "IMG_0001 (2)", "train/000001", "照片/人", "a.b.c", "हिन्दी", "v1.0/photo"])
def test_ordinary_names_stay(name):
    assert safe_key(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("../../x", "x~"),
        ("/abs/x", "abs/x~"),
        ("", "unnamed~"),
        ("a\0b", "a_b~"),
        (".hidden", "_hidden~"),
        ("aux", "_aux~"),
        ("NUL.txt", "_NUL.txt~"),
        ("a.png/b", "a.png_/b~"),
        ("e\u0301", "é~"),
        ("a\u202eb", "a_b~"),
    ],
)
def test_other_names_are_cleaned_and_marked(name, start):
    key = safe_key(name)
    assert key.startswith(start) and len(key) == len(start) + 12


def test_repeated_names_are_numbered_in_order():
    table = NameTable()
    assert [table.key(name) for name in ("a", "b", "a", "A", "a")] == ["a", "b", "a~2", "A~3", "a~4"]


@settings(deadline=None)
@given(anything)
def test_printable_is_valid_text(name):
    assert isinstance(printable(name).encode(), bytes)
    assert printable("ok ü") == "ok ü"
