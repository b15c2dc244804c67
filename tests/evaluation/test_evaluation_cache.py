"""What was computed once is not computed again, and what changed is."""

import numpy as np
import pytest
import torch

from benchmark_folders import (
    ColourBackbone,
    WordsBackbone,
    write_classification,
    write_mmvp,
    write_retrieval,
)
from dcr.data.benchmark_sets import open_set
from dcr.evaluation import EvaluationCache, NamedSet, embed_parts, evaluate_encoders
from dcr.evaluation.cache import EncoderFingerprint
from evaluation_options import quick_options

KINDS = {
    "mmvp_vlm": write_mmvp,
    "classification": write_classification,
    "retrieval": write_retrieval,
}


@pytest.fixture
def sets(tmp_path):
    for kind, write in KINDS.items():
        write(tmp_path / "sets" / kind)
    return [
        NamedSet(kind, kind, lambda kind=kind: open_set(tmp_path / "sets" / kind)) for kind in KINDS
    ]


@pytest.fixture
def cache(tmp_path):
    return EvaluationCache(tmp_path / "cache")


def evaluate(sets, cache, backbone=None, **changes):
    """Return the results, and how many images the encoder saw."""
    backbone = backbone or ColourBackbone()
    evaluations, failures = evaluate_encoders(
        {"base": lambda: backbone}, sets, quick_options(**changes), cache
    )
    assert failures == []
    return evaluations["base"], sum(backbone.batch_sizes)


def test_a_second_evaluation_sees_no_image_and_gives_the_same_results(sets, cache):
    first, num_seen = evaluate(sets, cache)
    again, num_seen_again = evaluate(sets, cache)
    assert (num_seen, num_seen_again) == (8 + 96 + 6, 0)
    assert again == first == evaluate(sets, None)[0]
    for one, other in zip(first, again, strict=True):
        assert list(one.replicates) == list(other.replicates) == list(one.scores)
        for metric, replicates in one.replicates.items():
            np.testing.assert_array_equal(replicates, other.replicates[metric])


def test_other_options_are_scored_anew_from_the_same_embeddings(sets, cache):
    first, _ = evaluate(sets, cache)
    other, num_seen = evaluate(sets, cache, recall_at=[2])
    assert num_seen == 0
    assert other != first


def test_speed_is_no_part_of_what_results_depend_on(sets, cache):
    first, _ = evaluate(sets, cache)
    files = {path.name for path in cache.folder.iterdir()}
    again, _ = evaluate(sets, cache, batch_size=3, num_workers=2)
    assert again == first
    assert {path.name for path in cache.folder.iterdir()} == files


def test_another_encoder_shares_nothing(sets, cache):
    evaluate(sets, cache)
    assert evaluate(sets, cache, ColourBackbone(image_scale=0.5))[1] == 110


def test_only_the_part_that_changed_is_embedded_again(sets, cache, tmp_path):
    evaluate(sets, cache)
    shard = tmp_path / "sets" / "classification" / "test" / "1.tar"
    shard.write_bytes(shard.read_bytes() + bytes(512))
    assert evaluate(sets, cache)[1] == 24


@pytest.mark.parametrize("content", [b"", b"no such file at all", b"\xff" * 8 + b"{}"])
def test_broken_files_are_made_again(sets, cache, content):
    first, _ = evaluate(sets, cache)
    for path in cache.folder.iterdir():
        path.write_bytes(content)
    again, num_seen = evaluate(sets, cache)
    assert again == first
    assert num_seen == 110


def test_weights_activations_preprocessing_and_decoding_make_an_encoder(monkeypatch):
    from dcr.models.backbones import Preprocessing

    def encoder_fingerprint(encoder):
        return EncoderFingerprint.of(encoder).whole

    encoder = ColourBackbone()
    fingerprint = encoder_fingerprint(encoder)
    assert fingerprint == encoder_fingerprint(ColourBackbone())
    encoder.preprocessing = Preprocessing(8, (0.5,) * 3, (1.0,) * 3, "bicubic", "squash")
    others = {fingerprint, encoder_fingerprint(encoder), encoder_fingerprint(ColourBackbone(0.5))}
    for activation in (torch.nn.GELU(), torch.nn.ReLU()):
        encoder = ColourBackbone()
        encoder.activation = activation
        others.add(encoder_fingerprint(encoder))
    monkeypatch.setattr("dcr.evaluation.cache.code_hash", lambda *makers: "edited")
    others.add(encoder_fingerprint(ColourBackbone()))
    assert len(others) == 6


def test_a_side_is_told_by_its_own_weights_alone():
    plain, other_tower = (EncoderFingerprint.of(WordsBackbone(scale)) for scale in (1.0, 0.5))
    changed = WordsBackbone()
    changed.words.mul_(2)
    other_words = EncoderFingerprint.of(changed)
    assert (plain.images == other_words.images, plain.texts == other_words.texts) == (True, False)
    assert (plain.images == other_tower.images, plain.texts == other_tower.texts) == (False, True)
    assert len({plain.whole, other_words.whole, other_tower.whole}) == 3


def test_an_encoder_with_the_same_image_tower_shares_image_embeddings_and_scores_without_texts(
    sets, cache
):
    first, _ = evaluate(sets, cache, WordsBackbone())
    turned = WordsBackbone()
    turned.words.copy_(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]))
    scored = set(cache.folder.glob("*.npz"))
    second, num_seen = evaluate(sets, cache, turned)
    assert num_seen == 0
    assert second == evaluate(sets, None, turned)[0]
    # Three are of the sets; clusters and probes are those of before.
    assert len(set(cache.folder.glob("*.npz")) - scored) == 3
    before, after = (
        {result.benchmark: result.scores for result in results} for results in (first, second)
    )
    assert list(before) == list(after)
    same = {benchmark for benchmark in before if before[benchmark] == after[benchmark]}
    assert {"clustering", "probes", "linear_probe"} <= same
    assert not same & {"zero_shot", "retrieval", "mmvp_vlm"}


def test_results_whose_replicates_are_cut_are_made_again(sets, cache):
    first, _ = evaluate(sets, cache)
    for path in cache.folder.glob("*.npz"):
        with np.load(path) as file:
            records, replicates = file["records"], file["replicates"]
        with path.open("wb") as file:
            np.savez(file, records=records, replicates=replicates[:-1])
    assert evaluate(sets, cache)[0] == first


@pytest.mark.parametrize("num_ranks", [1, 3])
def test_processes_share_the_parts_and_evaluation_then_sees_no_image(sets, cache, num_ranks):
    seen = []
    for rank in range(num_ranks):
        backbone = ColourBackbone()
        embed_parts(
            {"base": lambda backbone=backbone: backbone},
            sets,
            quick_options(),
            cache,
            rank,
            num_ranks,
        )
        seen.append(sum(backbone.batch_sizes))
    assert sum(seen) == 110
    assert all(seen)
    assert evaluate(sets, cache)[1] == 0


def test_threads_that_read_ahead_keep_the_order(sets):
    slow, fast = (evaluate(sets, None, num_workers=workers)[0] for workers in (0, 3))
    assert slow == fast


def test_kept_embeddings_are_float32_and_readable_by_others(sets, cache):
    from safetensors.numpy import load_file

    evaluate(sets, cache)
    arrays = [load_file(path)["embeddings"] for path in cache.folder.glob("*.safetensors")]
    assert all(array.dtype == np.float32 and array.shape[1] == 3 for array in arrays)
    assert sorted(map(len, arrays)) == [6, 8, 8, 12, 12, 24, 24, 48]
