"""What several encoders read alike is read once, and is the same to the last bit."""

import pytest
import torch

from benchmark_folders import ColourBackbone, write_classification, write_mmvp, write_retrieval
from dcr.data.benchmark_sets import NamedSet, open_set
from dcr.evaluation import evaluate_encoders, memory
from dcr.evaluation.memory import Memory
from evaluation_options import quick_options

KINDS = {
    "mmvp_vlm": write_mmvp,
    "classification": write_classification,
    "retrieval": write_retrieval,
}


class Counting(ColourBackbone):
    """Counts the images that it preprocesses, over all encoders."""

    seen = 0

    def preprocess(self, image):
        Counting.seen += 1
        return super().preprocess(image)


@pytest.fixture
def sets(tmp_path):
    for kind, write in KINDS.items():
        write(tmp_path / kind)
    return [NamedSet(kind, kind, lambda kind=kind: open_set(tmp_path / kind)) for kind in KINDS]


def evaluate(sets, *scales):
    Counting.seen = 0
    encoders = {f"encoder {scale}": lambda scale=scale: Counting(scale) for scale in scales}
    evaluations, failures = evaluate_encoders(encoders, sets, quick_options())
    assert failures == []
    return evaluations


def test_a_further_encoder_decodes_no_image_and_gets_the_same_results(sets):
    alone = evaluate(sets, 0.5)["encoder 0.5"]
    number = Counting.seen
    together = evaluate(sets, 1.0, 0.5, 0.7)
    assert Counting.seen == number == 8 + 96 + 6
    assert together["encoder 0.5"] == alone


def test_an_encoder_that_preprocesses_otherwise_reads_its_own(sets):
    class Larger(Counting):
        preprocessing = ColourBackbone.preprocessing.__class__(
            9, (0.0,) * 3, (1.0,) * 3, "bicubic", "squash"
        )

    Counting.seen = 0
    evaluate_encoders({"small": Counting, "large": Larger}, sets, quick_options())
    assert Counting.seen == 2 * (8 + 96 + 6)


def images(number):
    return [torch.full((3, 4, 4), float(i)) for i in range(number)]


def test_pixels_are_kept_as_far_as_they_fit_and_whole_parts_alone(monkeypatch):
    monkeypatch.setattr(memory, "_PIXEL_BYTES", 3 * 3 * 4 * 4 * 4)
    kept, reads = Memory(), []

    def read(name, number):
        reads.append(name)
        yield from images(number)

    for _ in range(2):
        for name, number in (("large", 4), ("fits", 2), ("no room left", 2)):
            found = list(kept.pixels(name, lambda name=name, number=number: read(name, number)))
            assert all(
                torch.equal(one, other) for one, other in zip(found, images(number), strict=True)
            )
    assert reads == ["large", "fits", "no room left", "large", "no room left"]


def test_a_part_that_breaks_off_is_not_kept():
    kept = Memory()

    def broken():
        yield from images(2)
        raise OSError("torn")

    for _ in range(2):
        with pytest.raises(OSError, match="torn"):
            list(kept.pixels("part", broken))
    assert len(list(kept.pixels("part", lambda: images(3)))) == 3


def test_words_are_read_once():
    kept = Memory()
    assert kept.words("set", lambda: ["a"]) == kept.words("set", lambda: ["b"]) == ["a"]
    assert kept.words("other", lambda: ["b"]) == ["b"]
