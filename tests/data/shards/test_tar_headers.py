"""Headers are read as tarfile reads those of sound tars; those that no tar of data has are
refused before they cost.
"""

import io
import subprocess
import tarfile
import time

import pytest

from corpus import special_member, write_members
from dcr.data.shards.tar_fields import TarDamaged
from dcr.data.shards.tar_headers import read_member

NAMES = [
    "0.jpg",
    "d/1.txt",
    "n" * 150 + ".json",
    "d" * 120 + "/" + "n" * 90 + ".jpg",
    "é" * 90 + ".png",
]


def read(content: bytes):
    """Return all members of a tar's bytes."""
    members, place = [], 0
    while (
        member := read_member(lambda start, size: content[start : start + size], place)
    ) is not None:
        members.append(member)
        place = member.end
    return members


def refuse(content: bytes) -> str:
    start = time.process_time()
    with pytest.raises(TarDamaged) as caught:
        read(content)
    assert time.process_time() - start < 1
    return str(caught.value)


def header(kind: bytes, size: int = 0, name: str = "0.jpg") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT)


def before(kind: bytes, content: bytes) -> bytes:
    """Return a header of names with its content."""
    return header(kind, len(content)) + content + b"\0" * (-len(content) % 512)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while len(str(length)) + len(key) + len(value) + 3 != length:
        length = len(str(length)) + len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length, key, value)


FILE = header(b"0", 3) + b"abc".ljust(512, b"\0")
END = b"\0" * 1024


def as_python_reads(path):
    with tarfile.open(path) as tar:
        return [(m.name, m.offset, m.offset_data, m.size, m.isreg(), m.isdir()) for m in tar]


def as_we_read(path):
    members = read(path.read_bytes())
    return [(m.name, m.offset, m.offset_data, m.size, m.is_file, m.is_folder) for m in members]


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_tars_of_python_are_read_as_python_reads_them(tmp_path, tar_format):
    times = tarfile.TarInfo("with/a/time.jpg")
    times.mtime = 1700000000.25 if tar_format == tarfile.PAX_FORMAT else 1700000000
    kinds = (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
    )
    special = [
        special_member(f"x{number}.jpg", kind, "l" * 80) for number, kind in enumerate(kinds)
    ]
    names = NAMES[:2] if tar_format == tarfile.USTAR_FORMAT else NAMES
    members = [times, *((name, b"x" * 700) for name in names), *special, ("last.jpg", b"")]
    path = write_members(tmp_path / "a.tar", members, tar_format)
    assert as_we_read(path) == as_python_reads(path)


@pytest.mark.parametrize("tar_format", ["v7", "ustar", "oldgnu", "gnu", "pax"])
def test_tars_of_gnu_tar_are_read_as_python_reads_them(tmp_path, tar_format):
    (tmp_path / "in" / "d").mkdir(parents=True)
    for name in (
        "0.jpg",
        "d/1.txt",
        "n" * 90 + ".json",
        *(() if tar_format in ("v7", "ustar") else NAMES[2:3]),
    ):
        (tmp_path / "in" / name).write_bytes(b"x" * 1000)
    (tmp_path / "in" / "2.jpg").symlink_to("0.jpg")
    path = tmp_path / "a.tar"
    subprocess.run(
        ["tar", f"--format={tar_format}", "-cf", path, "-C", tmp_path / "in", "."], check=True
    )
    assert as_we_read(path) == as_python_reads(path)
    assert len(as_we_read(path)) >= 6


@pytest.mark.parametrize("version", [None, "0.0", "0.1", "1.0"])
def test_sparse_files_are_named_and_passed_over(tmp_path, version):
    for name in ("0.jpg", "2.jpg"):
        (tmp_path / name).write_bytes(b"x" * 700)
    with open(tmp_path / "1.jpg", "wb") as file:
        for place in range(0, 100):
            file.seek(place << 16)
            file.write(b"y")
    options = (
        ["--format=gnu"] if version is None else ["--format=pax", f"--sparse-version={version}"]
    )
    command = ["tar", *options, "--sparse", "-cf", "a.tar", "0.jpg", "1.jpg", "2.jpg"]
    subprocess.run(command, cwd=tmp_path, check=True)
    members = read((tmp_path / "a.tar").read_bytes())
    assert [(member.name, member.is_file) for member in members] == [
        ("0.jpg", True),
        ("1.jpg", False),
        ("2.jpg", True),
    ]


def test_a_comment_for_all_members_as_git_writes_it_is_passed_over():
    assert [m.name for m in read(before(b"g", record(b"comment", b"38d54b3")) + FILE + END)] == [
        "0.jpg"
    ]


def test_sums_of_signed_bytes_are_accepted():
    block = bytearray(header(b"0", name="é.jpg"))
    signed = 256 + sum(b - 256 * (b > 127) for b in block[:148] + block[156:])
    block[148:156] = b"%06o\0 " % signed
    assert [m.name for m in read(bytes(block) + END)] == ["é.jpg"]


@pytest.mark.parametrize("key", [b"path", b"size", b"linkpath", b"GNU.sparse.map"])
def test_a_global_header_that_changes_members_is_refused(key):
    assert "global" in refuse(before(b"g", record(key, b"1")) + FILE)


def test_millions_of_digits_are_not_parsed():
    digits = b"9" * 900_000
    assert "no number" in refuse(before(b"x", digits + b" a=b\n") + FILE)
    assert "no number" in refuse(before(b"x", record(b"size", digits)) + FILE)
    assert "global" in refuse(before(b"g", record(b"GNU.sparse.size", digits)) + FILE)


@pytest.mark.parametrize("length", [b"0 ", b"-5 ", b"+9 ", b"1_0 ", b"99999 ", b"9", b" ", b"4 "])
def test_pax_lengths_that_do_not_fit_are_refused(length):
    refuse(before(b"x", length + b"a=bcd\n") + FILE)


def test_keys_and_headers_are_counted():
    many = b"".join(record(b"key%d" % number, b"") for number in range(50_000))
    assert "list without end" in refuse(before(b"x", many) + FILE)
    for kind in (b"x", b"g", b"L", b"K", b"X"):
        content = record(b"comment", b"a") if kind != b"L" else b"name.jpg"
        assert "before one member" in refuse(before(kind, content) * 100_000 + FILE)


def test_names_have_an_end():
    name = b"n" * 5000 + b".jpg"
    assert "4096" in refuse(before(b"L", name) + FILE)
    assert "4096" in refuse(before(b"x", record(b"path", name)) + FILE)
    (member,) = read(before(b"L", b"n" * 4000 + b".jpg\0") + FILE + END)
    assert len(member.name) == 4004


def test_maps_of_sparse_files_are_passed_over_without_being_kept():
    entries = b"".join(
        record(b"GNU.sparse.offset", b"1") + record(b"GNU.sparse.numbytes", b"1")
        for _ in range(100)
    )
    (member,) = read(before(b"x", record(b"GNU.sparse.size", b"9") + entries) + FILE + END)
    assert not member.is_file
    block = bytearray(header(b"S", 3))
    block[482], block[148:156] = 1, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    extended = (b"\1" * 512) * 20_000 + b"\0" * 512
    sparse, last = read(bytes(block) + extended + b"abc".ljust(512, b"\0") + FILE + END)
    assert (sparse.is_file, sparse.offset_data, last.name) == (False, 512 + len(extended), "0.jpg")


def test_a_header_of_names_without_a_member_is_refused():
    for rest in (b"", END, b"x" * 512):
        assert "no member" in refuse(before(b"L", b"name.jpg") + rest)


def test_python_can_read_what_we_can_after_one_header_of_each_kind():
    content = (
        before(b"K", b"target")
        + before(b"L", b"long.jpg\0")
        + FILE
        + before(b"x", record(b"path", b"b.jpg"))
        + FILE
    )
    with tarfile.open(fileobj=io.BytesIO(content + END)) as tar:
        theirs = [(m.name, m.offset, m.size) for m in tar]
    assert [(m.name, m.offset, m.size) for m in read(content + END)] == theirs
