import hashlib
from functools import partial

import numpy as np
import pytest

from corpus import encode, write_members
from dcr.data.benchmark_sets import NamedSet, open_set
from dcr.errors import UserError
from dcr.validation.contamination import (
    EvaluationImages,
    count_images,
    fingerprint_sets,
    hex_to_uint64,
    open_sets,
)
from dcr.validation.images import measure_image

NO_SHA256 = np.zeros((0, 2), np.uint64)


@pytest.fixture
def retrieval(tmp_path):
    members = [
        ("a.jpg", encode(seed=1)),
        ("a.txt", b"one"),
        ("b.png", encode(seed=2, kind="PNG")),
        ("b.txt", b"two"),
    ]
    write_members(
        tmp_path / "set" / "test" / "0.tar", [*members, ("c.jpg", b"no image"), ("c.txt", b"three")]
    )
    (tmp_path / "set" / "dataset_type.txt").write_text("retrieval")
    (tmp_path / "set" / "test" / "nshards.txt").write_text("1")
    return open_set(tmp_path / "set")


def test_every_image_of_a_set_that_can_be_decoded_is_hashed(retrieval, caplog):
    empty, table = fingerprint_sets({"retrieval": retrieval}, 10_000)
    assert len(empty) == 0
    assert table["image"].to_pylist() == ["retrieval/a", "retrieval/b"]
    assert caplog.messages == ["evaluation images that cannot be decoded: 1, retrieval/c first"]
    assert count_images(table["image"].to_pylist()) == {"retrieval": 2}
    assert table["sha256"][0].as_py() == hashlib.sha256(encode(seed=1)).hexdigest()
    assert table["phash"][1].as_py() == measure_image(encode(seed=2, kind="PNG"), 10_000).phash


def test_all_sets_that_cannot_be_opened_are_named_at_once(tmp_path, retrieval):
    sets = [
        NamedSet(name, "retrieval", partial(open_set, folder))
        for name, folder in (("a", retrieval.folder), ("b", tmp_path / "b"), ("c", tmp_path / "c"))
    ]
    with pytest.raises(
        UserError,
        match=r"^evaluation sets cannot be read: b: no benchmark set at .*; c: no benchmark",
    ):
        open_sets(sets)
    assert open_sets(sets[:1])["a"].folder == retrieval.folder


def test_a_recipe_without_a_set_is_told(caplog):
    assert open_sets([]) == {}
    assert "no evaluation set" in caplog.text


def test_equal_bytes_are_found_by_128_bits():
    texts = [hashlib.sha256(bytes([i])).hexdigest() for i in range(4)]
    images = EvaluationImages(
        list("abcd"), hex_to_uint64(texts, 2), np.arange(4, dtype=np.uint64), 2
    )
    assert images.equal_to(hex_to_uint64([texts[2], None, "f" * 64, texts[0]], 2)).tolist() == [
        2,
        -1,
        -1,
        0,
    ]


@pytest.mark.parametrize("distance", [0, 3, 6])
def test_the_nearest_picture_within_the_distance_is_found(distance):
    rng = np.random.default_rng(distance)
    evaluation = rng.integers(0, 2**64, 60, dtype=np.uint64)
    hashes = evaluation[rng.integers(0, 60, 200)]
    for i in range(200):
        for bit in rng.integers(0, 64, rng.integers(0, 9)):
            hashes[i] ^= np.uint64(1) << np.uint64(bit)
    found = EvaluationImages([], NO_SHA256, evaluation, distance).near_to(hashes)
    apart = np.array([[(int(a) ^ int(b)).bit_count() for b in evaluation] for a in hashes])
    assert ((found >= 0) == (apart.min(axis=1) <= distance)).all()
    hits = found >= 0
    assert (apart[np.flatnonzero(hits), found[hits]] == apart.min(axis=1)[hits]).all()


def test_without_evaluation_sets_nothing_is_found():
    images = EvaluationImages([], NO_SHA256, np.zeros(0, np.uint64), 4)
    assert images.near_to(np.array([1, 2], np.uint64)).tolist() == [-1, -1]
    assert images.equal_to(np.array([[1, 2]], np.uint64)).tolist() == [-1]
