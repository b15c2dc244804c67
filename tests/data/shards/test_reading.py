import io
import json
import pickle
import tarfile

import pytest

from caption_cases import CAPTIONS
from corpus import encode, good_samples, special_member, write_members
from dcr.data.shards import (
    CaptionNames,
    ShardReader,
    read_samples,
    split_name,
    tar_headers,
    write_shard,
)
from dcr.data.shards import reading as reading_module
from dcr.errors import UserError


def read(path, **options):
    with ShardReader(str(path), **options) as reader:
        samples = list(reader)
    return samples, reader


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0.jpg", ("0", "jpg")),
        ("a/b/0.JPG", ("a/b/0", "jpg")),
        ("a.b/0.c.png", ("a.b/0", "c.png")),
        ("./0.txt", ("./0", "txt")),
        ("noextension", None),
        (".hidden", None),
        ("__meta__.json", None),
    ],
)
def test_a_key_ends_at_the_first_dot_of_the_last_part(name, expected):
    assert split_name(name) == expected


def test_keys_are_those_of_webdataset(tmp_path):
    import webdataset as wds

    names = ["0.jpg", "0.txt", "d.e/1.x.jpg", "d.e/1.txt", "plain", "d/2.PNG", ".dot", "3.seg.png"]
    path = write_members(tmp_path / "a.tar", [(name, b"x") for name in names])
    theirs = [
        s["__key__"] for s in wds.WebDataset(str(path), shardshuffle=False, empty_check=False)
    ]
    assert [s.key for s in read_samples(str(path))] == theirs


@pytest.mark.parametrize(
    "tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
)
def test_members_of_one_key_are_one_sample(tmp_path, tar_format):
    long = "k" * 90
    members = [
        (f"{long}.jpg", b"image"),
        (f"{long}.txt", "Füchse".encode()),
        (f"{long}.json", b'{"a": 1}'),
    ]
    samples, reader = read(write_members(tmp_path / "a.tar", members, tar_format))
    (sample,) = samples
    assert (sample.key, sample.image, sample.image_extension, sample.caption) == (
        long,
        b"image",
        "jpg",
        "Füchse",
    )
    assert sample.metadata == {"a": 1}
    assert (sample.problems, reader.damage, reader.unreadable_bytes) == ((), None, 0)


def test_long_names_of_gnu_and_pax_tars_are_read_whole(tmp_path):
    for tar_format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = write_members(
            tmp_path / f"{tar_format}.tar", [("d/" + "é" * 300 + ".jpg", b"x")], tar_format
        )
        assert [s.key for s in read_samples(str(path))] == ["d/" + "é" * 300]


def test_the_caption_may_stand_in_the_json_or_nowhere(tmp_path):
    members = [
        ("0.jpg", b"x"),
        ("0.json", b'{"caption": "from json"}'),
        ("1.jpg", b"x"),
        ("2.json", b"{}"),
    ]
    samples, _ = read(write_members(tmp_path / "a.tar", members))
    assert [s.caption for s in samples] == ["from json", None, None]
    assert [s.image for s in samples] == [b"x", b"x", None]


def test_a_key_that_comes_back_is_another_sample(tmp_path):
    members = [("0.jpg", b"a"), ("0.jpg", b"b"), ("1.jpg", b"c"), ("0.jpg", b"d")]
    samples, _ = read(write_members(tmp_path / "a.tar", members))
    assert [(s.key, s.image) for s in samples] == [
        ("0", b"a"),
        ("0", b"b"),
        ("1", b"c"),
        ("0", b"d"),
    ]


def test_reading_can_start_at_a_sample(tmp_path):
    path = write_shard(tmp_path, "a", good_samples(5))
    samples, _ = read(path)
    again, _ = read(path, start=samples[3].offset)
    assert again == samples[3:]


def test_broken_texts_are_named_and_kept_readable(tmp_path):
    members = [
        ("0.jpg", b"x"),
        ("0.txt", b"caf\xe9"),
        ("1.jpg", b"x"),
        ("1.json", b"{"),
        ("2.jpg", b"x"),
        ("2.json", b"[]"),
    ]
    members += [("3.json", b"[" * 100_000)]
    samples, _ = read(write_members(tmp_path / "a.tar", members))
    assert [s.problems for s in samples] == [("caption_not_utf8",), *[("metadata_invalid",)] * 3]
    assert samples[0].caption == "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_never_followed(tmp_path, kind):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(encode())
    path = write_members(
        tmp_path / "a.tar", [special_member("0.jpg", kind, str(secret)), ("1.jpg", b"x")]
    )
    samples, reader = read(path)
    assert [(s.key, s.image, s.problems) for s in samples] == [
        ("0", None, ("unsafe_member",)),
        ("1", b"x", ()),
    ]
    assert reader.damage is None


@pytest.mark.parametrize("name", ["/etc/0.jpg", "../0.jpg", "a/../../0.jpg", "a\\0.jpg"])
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    samples, _ = read(write_members(tmp_path / "a.tar", [(name, b"x"), ("1.jpg", b"y")]))
    assert [(s.image, s.problems) for s in samples] == [(None, ("unsafe_member",)), (b"y", ())]


def test_pickles_and_code_are_not_touched(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    bomb = pickle.dumps(Bomb())
    members = [
        ("0.jpg", b"x"),
        ("0.pickle", bomb),
        ("0.pyd", bomb),
        ("0.pth", bomb),
        ("0.py", b"raise SystemExit"),
    ]
    samples, _ = read(write_members(tmp_path / "a.tar", members))
    assert [(s.key, s.image, s.metadata) for s in samples] == [("0", b"x", {})]


@pytest.mark.parametrize(
    ("content", "damage"), [(b"", "empty"), (b"no tar at all" * 1000, "damaged")]
)
def test_what_is_no_tar_is_said_and_counted(tmp_path, content, damage):
    (tmp_path / "a.tar").write_bytes(content)
    samples, reader = read(tmp_path / "a.tar")
    assert samples == []
    assert damage in reader.damage
    assert reader.unreadable_bytes == len(content)


def test_a_tar_without_members_is_sound_and_empty(tmp_path):
    samples, reader = read(write_members(tmp_path / "a.tar", []))
    assert (samples, reader.damage) == ([], None)


def test_a_gzipped_tar_is_said_to_be_no_plain_tar(tmp_path):
    import gzip

    path = write_shard(tmp_path, "a", good_samples(2))
    path.write_bytes(gzip.compress(path.read_bytes()))
    samples, reader = read(path)
    assert samples == []
    assert "compressed" in reader.damage


def test_a_cut_tar_gives_all_samples_before_the_cut_at_every_length(tmp_path):
    whole = write_shard(tmp_path, "whole", good_samples(3)).read_bytes()
    sound, _ = read(tmp_path / "whole.tar")
    cut = tmp_path / "cut.tar"
    for length in range(0, len(whole), 211):
        cut.write_bytes(whole[:length])
        samples, reader = read(cut)
        intact = [s for s in samples if s in sound]
        assert len(samples) - len(intact) <= 1  # the sample that the cut goes through
        assert 0 <= reader.unreadable_bytes <= length
        if whole[length:].strip(b"\0"):
            assert reader.damage is not None


def test_the_sample_at_the_cut_is_named(tmp_path):
    whole = write_shard(tmp_path, "a", good_samples(2))
    samples, _ = read(whole)
    content = whole.read_bytes()
    whole.write_bytes(content[: samples[1].offset + 512 + 10])
    cut, reader = read(whole)
    assert cut[0] == samples[0]
    assert (cut[1].key, cut[1].image, cut[1].problems) == (samples[1].key, None, ("tar_truncated",))
    assert reader.unreadable_bytes == 512 + 10
    assert "cut short" in reader.damage


def test_bytes_behind_a_broken_header_are_counted(tmp_path):
    path = write_shard(tmp_path, "a", good_samples(3))
    samples, _ = read(path)
    content = bytearray(path.read_bytes())
    content[samples[1].offset : samples[1].offset + 512] = b"\xff" * 512
    path.write_bytes(content)
    broken, reader = read(path)
    assert broken == samples[:1]
    assert reader.unreadable_bytes == len(content) - samples[1].offset


@pytest.mark.parametrize("size_field", [b"7" * 11 + b"\0", b"\x80" + b"\x7f" * 11, b"\xff" * 12])
def test_any_declared_size_costs_no_memory(tmp_path, size_field):
    """Octal 8 GiB, base-256 2**87 and a negative size, for a member and for a header of long
    names.
    """
    for typeflag in (b"0", b"L", b"x", b"g", b"S"):
        header = bytearray(tarfile.TarInfo("0.jpg").tobuf(tarfile.USTAR_FORMAT))
        header[124:136], header[156:157], header[148:156] = size_field, typeflag, b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        (tmp_path / "a.tar").write_bytes(bytes(header) + b"x" * 2048)
        samples, reader = read(tmp_path / "a.tar")
        assert all(s.image is None for s in samples)
        assert reader.damage is not None
        assert reader.unreadable_bytes >= reader.size - 512


def test_members_beyond_the_limit_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading_module, "MAX_IMAGE_BYTES", 10)
    samples, _ = read(
        write_members(tmp_path / "a.tar", [("0.jpg", b"x" * 11), ("1.jpg", b"x" * 10)])
    )
    assert [s.problems for s in samples] == [("member_too_large",), ()]


def test_sparse_members_are_not_expanded(tmp_path):
    """A GNU sparse member of 1 TiB whose only bytes are holes."""
    header = bytearray(tarfile.TarInfo("0.jpg").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(bytes(header) + b"\0" * 1024)
    samples, _ = read(tmp_path / "a.tar")
    assert [(s.image, s.problems) for s in samples] == [(None, ("unsafe_member",))]


def test_a_shard_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"a\.tar cannot be opened"):
        list(read_samples(str(tmp_path / "a.tar")))


@pytest.mark.parametrize("good_reads", [0, 1, 5])
def test_a_network_that_fails_is_no_damage_of_the_tar(tmp_path, monkeypatch, good_reads):
    path = write_shard(tmp_path, "a", good_samples(3))
    reads = iter(range(100))

    class Lost(io.FileIO):
        """A remote file whose connection is lost after some reads."""

        def read(self, size=-1):
            if next(reads) >= good_reads:
                raise TimeoutError("connection lost")
            return super().read(size)

    monkeypatch.setattr("dcr.data.shards.reading.open_file", lambda place, whole: Lost(place))
    sentence = r"a\.tar cannot be read: TimeoutError connection lost; run again"
    with ShardReader(str(path)) as reader, pytest.raises(UserError, match=sentence):
        list(reader)


def test_random_damage_never_breaks_the_reader(tmp_path):
    import numpy as np

    whole = write_shard(tmp_path, "whole", good_samples(3)).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(whole)
        for position in rng.integers(0, len(content), 30):
            content[position] = rng.integers(256)
        content = content[: rng.integers(len(content))] + content[rng.integers(len(content)) :]
        (tmp_path / "a.tar").write_bytes(content)
        samples, reader = read(tmp_path / "a.tar")
        assert len(samples) <= 9
        assert 0 <= reader.unreadable_bytes <= reader.size


def test_of_a_large_json_lists_and_objects_are_let_go(tmp_path):
    large = {"width": 7, "url": "u", "caption": "c", "boxes": [{"x": 123456789}] * 10_000}
    made_to_cost = [
        '{"a": [' + "[]," * 300_000 + "0]}",
        '{"a":' + "[{}," * 9 + "{}" + "]" * 9 + "," * 70_000 + "}",
    ]
    texts = [json.dumps(large), *made_to_cost, json.dumps({"a": [1]})]
    samples, _ = read(
        write_members(
            tmp_path / "a.tar", [(f"{i}.json", text.encode()) for i, text in enumerate(texts)]
        )
    )
    assert [s.problems for s in samples] == [(), ("metadata_invalid",), ("metadata_invalid",), ()]
    assert samples[0].metadata == {"width": 7, "url": "u", "caption": "c"}
    assert samples[3].metadata == {"a": [1]}


def test_a_shard_of_empty_members_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(tar_headers, "_EMPTY_MEMBERS", 100)
    honest = [
        (f"{i}.{extension}", b"x" * (extension == "jpg"))
        for i in range(500)
        for extension in ("jpg", "txt")
    ]
    assert read(write_members(tmp_path / "a.tar", honest))[1].damage is None
    samples, reader = read(
        write_members(tmp_path / "a.tar", [*honest[:10], *((f"x{i}.jpg", b"") for i in range(500))])
    )
    assert "most of its members are empty" in reader.damage
    assert len(samples) == 5 + 101
    assert reader.unreadable_bytes > 0


@pytest.mark.parametrize("case", CAPTIONS, ids=lambda case: case.row)
def test_captions_are_texts_whatever_holds_them(tmp_path, case):
    members = [(f"0.{extension}", content) for extension, content in case.members().items()]
    (sample,), _ = read(write_members(tmp_path / "0.tar", members))
    assert sample.captions == case.captions
    assert sample.caption == (case.captions[0] if case.captions else None)


@pytest.mark.parametrize(
    ("names", "captions"),
    [
        (CaptionNames(), ("alt",)),
        (CaptionNames("cap"), ("a fish",)),
        (CaptionNames("cap", "synthetic"), ("a pond", "a net")),
        (CaptionNames("json"), ("title",)),
        (CaptionNames("json", "synthetic"), ("a pond", "a net")),
        (CaptionNames("json", "nothing"), ()),
        (CaptionNames("Text.en".lower()), ("title",)),  # of no such member the json's
    ],
)
def test_captions_stand_where_the_recipe_says(tmp_path, names, captions):
    metadata = {"caption": "title", "synthetic": ["a pond", "a net"]}
    members = [("0.txt", b"alt"), ("0.cap", b"a fish"), ("0.json", json.dumps(metadata).encode())]
    (sample,), reader = read(write_members(tmp_path / "0.tar", members), names=names)
    assert (sample.captions, sample.metadata) == (captions, metadata)
    assert (reader.damage, reader.apart) == (None, None)


def test_a_caption_of_a_chosen_member_that_stands_apart_is_told(tmp_path):
    members = [("0.jpg", b"x"), ("1.jpg", b"x"), ("0.cap", b"a fish"), ("1.cap", b"a pond")]
    path = write_members(tmp_path / "0.tar", members)
    assert read(path, names=CaptionNames("cap"))[1].apart == "0"


def test_captions_of_a_large_json_are_kept_and_are_not_more_than_anybody_needs(tmp_path):
    metadata = {"captions": [f"caption {i}" for i in range(20_000)], "boxes": [1.0] * 1000}
    (sample,), _ = read(
        write_members(tmp_path / "0.tar", [("0.json", json.dumps(metadata).encode())])
    )
    assert sample.captions == tuple(f"caption {i}" for i in range(1000))
    assert sample.metadata == {}
