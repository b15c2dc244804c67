"""What embeddings and results depend on: every parameter of evaluation, in a table, and every
input.
"""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmark_folders import ColourBackbone, write_classification, write_mmvp, write_retrieval
from caption_sets import write_groups
from dcr.data.benchmark_sets import MMVPSet, open_set
from dcr.evaluation import Embedder, EvaluationOptions
from dcr.evaluation.one_set import evaluate_set
from dcr.evaluation.provenance import evaluation_course
from dcr.parameters import EvaluationParameters
from voc_sets import write_voc

CONF = Path(__file__).parents[2] / "conf" / "base"
COMPARABLE = {"mmvp_vlm", "classification", "retrieval", "caption_selection"}
PIXELS = {"segmentation"}
KINDS = COMPARABLE | PIXELS
CLASSES, NONE = {"classification"}, set()
COMPARED = {"compare_features": True}

# The parameter, another value, the kinds of sets whose results it changes, and what must hold for
# it to be used.
TABLE = {
    "kmeans_seeds": ([7], CLASSES),
    "kmeans_num_init": (3, CLASSES),
    "kmeans_batch_size": (100, CLASSES),
    "num_neighbours": (3, CLASSES),
    "probe_inverse_regularization": (2.0, CLASSES | PIXELS),
    "probe_max_iterations": (7, CLASSES | PIXELS),
    "num_segmentation_patches": (7, PIXELS),
    "num_segmentation_neighbours": (7, PIXELS),
    "segmentation_temperature": (0.5, PIXELS),
    "recall_at": ([2], {"retrieval"}),
    "compare_features": (True, COMPARABLE),
    "num_compared_images": (20, COMPARABLE, COMPARED),
    "num_compared_neighbours": (3, COMPARABLE, COMPARED),
    "num_resamples": (7, KINDS),
    "confidence": (0.5, KINDS),
    "seed": (3, KINDS),
    "sets": (["retrieval"], NONE),  # which of them are scored, not how
    **{
        name: (value, NONE)
        for name, value in {
            "batch_size": 3,
            "num_workers": 0,
            "num_ranks": 2,
            "rank": 0,
            "model_name": "m",
            "language": "xx",
            "diva_results": True,
        }.items()
    },
}


class Keys:
    """Stands for the cache: notes the keys it is asked for and computes nothing."""

    def __init__(self):
        self.found = []

    def embeddings(self, key, compute, description):
        self.found.append(key)
        return np.zeros((1, 3), np.float32)

    def results(self, key, compute):
        self.found.append(key)
        return []


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    writers = {
        "mmvp_vlm": write_mmvp,
        "classification": write_classification,
        "retrieval": write_retrieval,
        "caption_selection": write_groups,
        "segmentation": write_voc,
    }
    for kind, write in writers.items():
        write(folder / kind)
    return {kind: open_set(folder / kind) for kind in KINDS}


def parameters(**changes):
    values = yaml.safe_load((CONF / "parameters_evaluation.yml").read_text())["evaluation"]
    return EvaluationParameters(**values | changes)


def result_keys(opened, backbone=None, reference=None, **changes):
    """Return the key of each set's results."""
    keys = Keys()
    options = EvaluationOptions.of(parameters(**changes))
    for _, benchmark_set in sorted(opened.items()):
        embedder = Embedder(
            backbone or ColourBackbone(), options.batch_size, options.num_workers, keys
        )
        evaluate_set(
            embedder, benchmark_set, options, Embedder(reference or ColourBackbone(0.5), 1, 0, keys)
        )
    return dict(zip(sorted(opened), keys.found, strict=True))


def embedding_keys(benchmark_set, backbone=None, **changes):
    keys = Keys()
    options = EvaluationOptions.of(parameters(**changes))
    embedder = Embedder(backbone or ColourBackbone(), options.batch_size, options.num_workers, keys)
    parts = (
        [benchmark_set]
        if isinstance(benchmark_set, MMVPSet)
        else list(chain(*benchmark_set.splits.values()))
    )
    for part in parts:
        embedder.images(part, "images")
    embedder.texts(["a", "b"], "texts")
    return keys.found


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


def test_every_parameter_is_in_the_table():
    assert set(TABLE) == set(EvaluationParameters.model_fields)


@pytest.mark.parametrize("name", TABLE)
def test_a_parameter_changes_the_results_that_depend_on_it_and_no_embedding(sets, name):
    value, expected, *needed = TABLE[name]
    base = needed[0] if needed else {}
    assert changed(result_keys(sets, **base), result_keys(sets, **base | {name: value})) == expected
    for benchmark_set in sets.values():
        assert embedding_keys(benchmark_set) == embedding_keys(benchmark_set, **{name: value})


@pytest.mark.parametrize("name", ["num_compared_images", "num_compared_neighbours"])
def test_what_is_not_asked_for_changes_nothing(sets, name):
    assert changed(result_keys(sets), result_keys(sets, **{name: 7})) == NONE


@pytest.mark.parametrize("name", TABLE)
def test_the_record_of_an_evaluation_tells_what_scores_depend_on(name):
    value, kinds, *_ = TABLE[name]
    same = evaluation_course(parameters()) == evaluation_course(parameters(**{name: value}))
    assert same == (not kinds and name != "sets")


def test_encoders_and_sets_change_what_is_of_them(sets):
    before = result_keys(sets)
    assert changed(before, result_keys(sets, backbone=ColourBackbone(0.9))) == KINDS
    assert changed(before, result_keys(sets, reference=ColourBackbone(0.9))) == NONE
    compared = result_keys(sets, **COMPARED)
    other = result_keys(sets, reference=ColourBackbone(0.9), **COMPARED)
    assert changed(compared, other) == COMPARABLE
    for benchmark_set in sets.values():
        *images, texts = embedding_keys(benchmark_set)
        *others, others_texts = embedding_keys(benchmark_set, ColourBackbone(0.9))
        assert not set(images) & set(others)
        assert texts == others_texts  # its text side is the same
    image = next(Path(sets["mmvp_vlm"].folder, "MLLM_VLM Images").rglob("*.jpg"))
    content = image.read_bytes()
    try:
        image.write_bytes(content + b"x")
        assert changed(
            before, result_keys(sets | {"mmvp_vlm": open_set(sets["mmvp_vlm"].folder)})
        ) == {"mmvp_vlm"}
    finally:
        image.write_bytes(content)


def test_what_is_counted_of_pixels_depends_on_how_readers_learn_and_on_the_tower_alone(sets):
    def keys(backbone=None, **changes):
        found = Keys()
        found.results = lambda key, compute: compute()
        found.embeddings = lambda key, compute, description: (
            found.found.append(key) or np.ones((10, 2 * 3 * 4), np.float32)
        )
        options = EvaluationOptions.of(parameters(**changes))
        embedder = Embedder(backbone or ColourBackbone(), options.batch_size, 0, found)
        evaluate_set(embedder, sets["segmentation"], options)
        return found.found

    assert len(keys()) == 1
    for name, (value, kinds, *_) in TABLE.items():
        follows = kinds & PIXELS and name not in ("num_resamples", "confidence")
        assert (keys() != keys(**{name: value})) == bool(follows), name
    assert keys() != keys(ColourBackbone(0.9))
