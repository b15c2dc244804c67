"""Sound shards, changed at random: each gives rows or a reason, and what is accepted trains as
it was measured.
"""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from corpus import encode, good_samples, write_members
from dcr.data.decoding import decode_rgb
from dcr.data.shards import read_validated, write_shard
from dcr.validation.measuring import measure_shard
from validation_tables import LIMITS, POLICIES

FIELDS = (
    (0, 100),
    (100, 108),
    (124, 136),
    (136, 148),
    (148, 156),
    (156, 157),
    (157, 257),
    (257, 265),
    (345, 500),
)
TOKENS = (
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"\\",
    b",",
    b":",
    b"1e999",
    b"-",
    b"NaN",
    b"9" * 5_000,
    b"\xff",
    b"\\ud800",
)
NUMBERS = (
    b"0",
    b"-1",
    b"9" * 11,
    b"9" * 30,
    b"\x80" + b"\x7f" * 11,
    b"\xff" * 12,
    b"1_0",
    b" ",
    b"\0",
)
SECONDS_EACH, GROWTH = 5.0, 1 << 30

Mutation = Callable[[bytearray, bytes, np.random.Generator], None]


def flip(content: bytearray, other: bytes, rng: np.random.Generator) -> None:
    for place in rng.integers(0, len(content), rng.integers(1, 60)):
        content[place] ^= 1 << int(rng.integers(8))


def cut(content: bytearray, other: bytes, rng: np.random.Generator) -> None:
    start, stop = sorted(rng.integers(1, len(content), 2).tolist())
    del content[start : stop if rng.integers(2) else len(content)]


def double(content: bytearray, other: bytes, rng: np.random.Generator) -> None:
    start, stop = sorted((rng.integers(0, len(content), 2) // 512 * 512).tolist())
    content[stop:stop] = content[start:stop]


def splice(content: bytearray, other: bytes, rng: np.random.Generator) -> None:
    start, source = int(rng.integers(len(content))), int(rng.integers(len(other)))
    content[start : start + int(rng.integers(1, 4096))] = other[
        source : source + int(rng.integers(1, 4096))
    ]


def change_header(content: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Change a field of a member's header, most often so that its checksum holds."""
    places = [
        place
        for place in range(0, len(content) - 511, 512)
        if content[place + 257 : place + 262] == b"ustar"
    ]
    if not places:  # a first mutation has left no header
        return flip(content, other, rng)
    place = int(rng.choice(places))
    start, stop = FIELDS[rng.integers(len(FIELDS))]
    value = NUMBERS[rng.integers(len(NUMBERS))] if rng.integers(2) else rng.bytes(stop - start)
    content[place + start : place + stop] = value.ljust(stop - start, b"\0")[: stop - start]
    if stop == 157:
        content[place + 156] = b"0123456LKxgSXV\0"[rng.integers(15)]
    if rng.integers(4):
        block = content[place : place + 512]
        content[place + 148 : place + 156] = b"%06o\0 " % (
            256 + sum(block[:148]) + sum(block[156:])
        )


def change_after(*marks: bytes) -> Mutation:
    """Return a mutation near one of some marks, which keeps the place of all that follows."""

    def mutate(content: bytearray, other: bytes, rng: np.random.Generator) -> None:
        places = [place for mark in marks for place in _find_all(bytes(content), mark)]
        if not places:
            return flip(content, other, rng)
        place = int(rng.choice(places)) + int(rng.integers(0, 40))
        token = (
            TOKENS[rng.integers(len(TOKENS))]
            if rng.integers(2)
            else rng.bytes(int(rng.integers(1, 8)))
        )
        content[place : place + len(token)] = token[: max(0, len(content) - place)]

    return mutate


def _find_all(content: bytes, mark: bytes) -> list[int]:
    places, place = [], content.find(mark)
    while place >= 0:
        places.append(place)
        place = content.find(mark, place + 1)
    return places


MUTATIONS: list[Mutation] = [
    flip,
    cut,
    double,
    splice,
    change_header,
    change_header,
    change_after(b'{"url"', b'"sha256"', b'"width"'),  # json
    change_after(b" path=", b" size=", b" mtime="),  # PAX
    # JPEG
    change_after(
        b"\xff\xd8", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4", b"\xff\xda", b"\xff\xdb", b"Exif"
    ),
    change_after(b"IHDR", b"IDAT", b"acTL", b"VP8", b"GIF8", b"BM"),  # other formats
]


def sound_shards(folder: Path) -> list[bytes]:
    """Return tars of every format of names and pictures."""
    kinds = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
    images = [
        (f"d/{'n' * 99}{i}.{kind.lower()}", encode(seed=i, kind=kind))
        for i, kind in enumerate(kinds)
    ]
    images += [
        ("p.jpg", encode(progressive=True)),
        ("p.txt", b"a caption"),
        ("p.json", json.dumps({"width": 48}).encode()),
    ]
    paths = [
        write_shard(folder, "a", good_samples(3)),
        write_members(folder / "b.tar", images, tarfile.PAX_FORMAT),
        write_members(folder / "c.tar", images, tarfile.GNU_FORMAT),
    ]
    return [path.read_bytes() for path in paths]


def luminance(content: bytes, pixels: Image.Image) -> float:
    """Return the mean luma: of a colour JPEG its own, as colours outside of RGB, which damage
    gives, are clipped.
    """
    with Image.open(io.BytesIO(content)) as image:
        if image.format == "JPEG" and image.mode == "RGB":
            image.draft("YCbCr", None)
            pixels = image.getchannel(0) if image.mode == "YCbCr" else pixels
        return float(np.asarray(pixels.convert("L")).mean())


def check_measures(path: Path) -> int:
    """Measure a shard and return how many samples were accepted; each must be there for
    training, pixel by pixel.
    """
    start = time.process_time()
    measures = measure_shard(str(path), "mutated", LIMITS)
    assert time.process_time() - start < SECONDS_EACH
    record, rows = measures.record, measures.rows.to_pylist()
    assert rows or record["findings"]
    assert record["num_samples"] == len(rows)
    assert 0 <= record["unreadable_bytes"] <= record["num_bytes"] == path.stat().st_size
    rejecting = {reason for reason, policy in POLICIES.items() if policy == "reject"} - {
        "key_collision"
    }
    accepted = {row["offset"]: row for row in rows if not rejecting.intersection(row["findings"])}
    if accepted:
        hashes = {offset: row["sha256"] for offset, row in accepted.items()}
        for sample in read_validated(str(path), hashes):
            row, pixels = accepted[sample.offset], decode_rgb(sample.image)
            assert pixels.size == (row["width"], row["height"])
            assert abs(luminance(sample.image, pixels) - row["luminance_mean"]) < 1
    return len(accepted)


def test_mutated_shards_give_rows_or_reasons(torture, tmp_path):
    rng, count = np.random.default_rng(torture.seed), torture.amount(400, 10_000)
    shards, path, accepted, before = (
        sound_shards(tmp_path),
        tmp_path / "mutated.tar",
        0,
        _resident_bytes(),
    )
    for _ in range(count):
        content, other = bytearray(shards[rng.integers(3)]), shards[rng.integers(3)]
        for mutation in rng.choice(len(MUTATIONS), rng.integers(1, 3)):
            if content:
                MUTATIONS[mutation](content, other, rng)
        path.write_bytes(content)
        accepted += check_measures(path)
    assert accepted > count / 2  # most of what was not touched is still found
    assert _resident_bytes() - before < GROWTH
    torture.count("mutations", count)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
