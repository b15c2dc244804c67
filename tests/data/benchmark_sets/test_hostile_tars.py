"""Tars of evaluation sets that are made to hold a reader up or to fill its memory end in one
sentence, soon.
"""

import bz2
import gzip
import lzma
import time
import tracemalloc
from contextlib import contextmanager

import pytest

from benchmark_folders import image_bytes, write_classification
from bombs import BOMBS, END, header, many, member
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError

SIZE, SECONDS, BYTES = 8 << 20, 5, 150 << 20
PNG = image_bytes((220, 30, 30))
SAMPLE = member("s.png", PNG) + member("s.cls", b"0")
ZEROS = member("0.png", bytes(200 << 20))
HEADERS = [
    "digits of a PAX length", "digits of a PAX size", "global keys", "global keys without end",
    "headers of names without a member", "long names one after the other",
    "names of a megabyte", "folders", "links",
]  # fmt: skip


def made(name: str) -> bytes:
    return SAMPLE + b"".join(BOMBS[name][0](SIZE))


def empty_members() -> bytes:
    return SAMPLE + b"".join(many(lambda n: header(f"{n}"))(SIZE))


# name: (bytes of a tar, what its sentence says)
TARS = {
    name: (lambda name=name: made(name), "cannot be read as a tar of samples") for name in HEADERS
} | {
    "a length of a hundred thousand digits": (
        lambda: (
            SAMPLE + member("pax", b"9" * 100_000 + b" a=b\n", b"x") + member("0.png", PNG) + END
        ),
        "no number",
    ),
    "a map of a sparse file in its content": (
        lambda: b"".join(BOMBS["a map of a sparse file in its content"][0](SIZE)),
        "is empty",
    ),
    "members without content": (empty_members, "most of its members are empty"),
    "a picture beyond all sizes": (
        lambda: SAMPLE + header("0.png", 10**12),
        "too large: .* 256 MiB",
    ),
    "a text beyond all sizes": (
        lambda: SAMPLE + member("0.json", b" " * (5 << 20)) + END,
        "a text 4",
    ),
    "a gzip bomb": (lambda: gzip.compress(SAMPLE + ZEROS + END), "expands to more than 100 times"),
    "a bzip2 bomb": (lambda: bz2.compress(SAMPLE + ZEROS + END), "expands to more than 100 times"),
    "an xz bomb": (
        lambda: lzma.compress(SAMPLE + ZEROS + END, preset=0),
        "expands to more than 100 times",
    ),
    "a gzip bomb in what nobody reads": (
        lambda: gzip.compress(SAMPLE + member("0.bin", bytes(200 << 20)) + END),
        "expands to more than 100 times",
    ),
    "a name twice": (lambda: SAMPLE + member("s.png", PNG) + END, "duplicate file name"),
    "a sample twice, the second cut": (
        lambda: SAMPLE + member("0.png", PNG)[:700],
        "cut short within a member",
    ),
    "no end": (lambda: SAMPLE, "no end-of-archive mark"),
    "a second tar behind the first": (
        lambda: SAMPLE + END + SAMPLE + END,
        "bytes that are no tar header",
    ),
}


@contextmanager
def tracing():
    """Give a dictionary that holds the most bytes in use, ``peak``, at the end."""
    trace = {}
    tracemalloc.start()
    try:
        yield trace
        trace["peak"] = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", list(TARS))
def test_a_bomb_is_refused_in_a_sentence_within_seconds_and_small_memory(tmp_path, name):
    make, message = TARS[name]
    folder = write_classification(tmp_path / "set", per_class=1)
    (folder / "test" / "1.tar").write_bytes(make())
    samples = open_set(folder).samples("test")
    start = time.process_time()
    with tracing() as trace, pytest.raises(UserError, match=message) as caught:
        for _ in samples:
            pass
    seconds, peak = time.process_time() - start, trace["peak"]
    assert f"{folder}/test/1.tar" in str(caught.value)
    assert seconds < SECONDS
    assert peak < BYTES


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_what_belongs_to_no_sample_is_passed_over_and_told(tmp_path, caplog, compress):
    folder = write_classification(tmp_path / "set", per_class=1)
    others = [
        header("d/", kind=b"5"),
        member("README", b"x"),
        header("x.png", kind=b"2"),
        member("s.npy", b"y" * 999),
    ]
    (folder / "test" / "1.tar").write_bytes(
        compress(b"".join(others[:3]) + SAMPLE + others[3] + END)
    )
    samples = [sample for sample in open_set(folder).samples("test") if sample.key == "s"]
    assert [(sample.content, sample.label) for sample in samples] == [(PNG, 0)]
    assert "test/1.tar: 2 members were passed over, 'README' first" in caplog.text
