from pathlib import Path

import pytest

from jobs.image_lists import ListError, chosen_labels, read_list
from jobs.storage import StorageConfig

STORAGE = StorageConfig()
SPLIT = Path(__file__).resolve().parents[2] / "configs" / "splits" / "faces_open.csv"


def write(tmp_path, text: str) -> str:
    (tmp_path / "list.csv").write_text(text)
    return str(tmp_path / "list.csv")


def test_names_lose_their_suffix_and_labels_are_read(tmp_path):
    uri = write(tmp_path, "file,subject,group,split\na/x.jpg,ann,north,train\nb/y.z,ben,,test\n")
    assert chosen_labels(uri, "", STORAGE) == {"a/x": ("ann", "north"), "b/y.z": ("ben", "")}
    assert chosen_labels(uri, "test", STORAGE) == {"b/y.z": ("ben", "")}
    assert len(chosen_labels(uri, "train, test", STORAGE)) == 2


def test_columns_may_be_missing(tmp_path):
    assert chosen_labels(write(tmp_path, "file\nx.png\n\n"), "", STORAGE) == {"x": ("", "")}


@pytest.mark.parametrize(
    ("text", "split", "said"),
    [("name\nx\n", "", "column `file`"), ("file,split\nx,train\n", "tset", "no split 'tset', only train")],
)
def test_what_is_wrong_is_told(tmp_path, text, split, said):
    with pytest.raises(ListError, match=said):
        chosen_labels(write(tmp_path, text), split, STORAGE)


def test_a_missing_list_is_told(tmp_path):
    with pytest.raises(ListError, match=r"none\.csv"):
        read_list(str(tmp_path / "none.csv"), STORAGE)


def test_nobody_of_the_shipped_split_is_in_two_parts():
    lines = read_list(str(SPLIT), STORAGE)
    parts: dict[str, set[str]] = {}
    for line in lines:
        parts.setdefault(line.subject, set()).add(line.split)
    assert len(lines) == 993 and all(len(part) == 1 for part in parts.values())
    assert {split: sum(line.split == split for line in lines) for split in ("train", "val", "test")} == {
        "train": 746,
        "val": 49,
        "test": 198,
    }
