"""The streaming tar reader agrees with tarfile, and says where an archive broke."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.tar import BrokenTarError, read_tar


def packed(members, format=tarfile.PAX_FORMAT) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def unpacked(data: bytes) -> list[tuple[str, bytes]]:
    return [(member.name, member.read(1 << 30)) for member in read_tar(io.BytesIO(data))]


names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=300).filter(
    lambda name: name.rstrip("/") == name
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=5),
    st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]),
)
def test_reads_what_tarfile_writes(members, format):
    assert unpacked(packed(members, format)) == members


def test_ustar_prefix():
    members = [("d" * 120 + "/" + "f" * 90, b"x")]
    assert unpacked(packed(members, tarfile.USTAR_FORMAT)) == members


def test_members_may_be_left_unread_or_read_in_part():
    data = packed([("a", b"x" * 2000), ("b", b"y" * 2000), ("c", b"z")])
    got = [member.read(3) if member.name == "b" else None for member in read_tar(io.BytesIO(data))]
    assert got == [None, b"yyy", None]


def test_kinds():
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE):
            info = tarfile.TarInfo("m")
            info.type = kind
            archive.addfile(info)
    kinds = [member.kind for member in read_tar(io.BytesIO(sink.getvalue()))]
    assert kinds == ["symbolic link", "hard link", "device", "folder", "pipe", "file"]


def broken(data: bytes) -> tuple[list[str], str]:
    read, reader = [], read_tar(io.BytesIO(data))
    with pytest.raises(BrokenTarError) as caught:
        for member in reader:
            member.read(1 << 30)
            read.append(member.name)
    return read, str(caught.value)


THREE = packed([("a", b"x" * 600), ("b", b"y" * 600), ("c", b"z")])


@pytest.mark.parametrize(
    ("data", "names", "message"),
    [
        (b"", [], "ends at byte 0 without an end marker"),
        (THREE[:300], [], "ends at byte 300, inside a header"),
        (THREE[:1536], ["a"], "ends at byte 1536 without an end marker"),
        (THREE[:2200], ["a"], "ends at byte 2200, inside a member"),
        (THREE[:1536] + b"garbage!" * 64 + THREE[2048:], ["a"], "no valid header at byte 1536"),
        (b"<html>not found</html>" * 100, [], "no valid header at byte 0"),
    ],
)
def test_where_it_broke(data, names, message):
    got, said = broken(data)
    assert got == names and message in said


def test_a_hostile_name_length_is_not_allocated():
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    assert "a name of 8589934592 bytes" in broken(info.tobuf(tarfile.GNU_FORMAT))[1]


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(THREE) - 1), st.integers(1, 255))
def test_any_flipped_byte_is_read_or_refused(at, flip):
    data = bytearray(THREE)
    data[at] ^= flip
    try:
        unpacked(bytes(data))
    except BrokenTarError as error:
        assert "byte" in str(error)


def test_an_archive_of_nothing():
    assert unpacked(packed([])) == []
