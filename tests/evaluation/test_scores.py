import json

import numpy as np
import pytest
import torch

from benchmark_folders import (
    COLOURS,
    ColourBackbone,
    classification_sample,
    image_bytes,
    write_classification,
    write_mmvp,
    write_retrieval,
    write_split,
)
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import embed_images, embed_texts, evaluate_encoder
from dcr.evaluation.tables import (
    answers_tables,
    intervals_table,
    outcomes_table,
    result_records,
    scores_table,
)
from dcr.models.backbones import load_backbone
from evaluation_options import quick_options
from models import images, tiny_open_clip

OPTIONS = quick_options()


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return [
        open_set(write_mmvp(folder / "mmvp_vlm")),
        open_set(write_classification(folder / "colours")),
        open_set(write_retrieval(folder / "captions")),
    ]


@pytest.fixture(scope="module")
def colour_results(sets):
    return evaluate_encoder(ColourBackbone(), sets, OPTIONS)


@pytest.fixture(scope="module")
def tiny_backbone(tmp_path_factory):
    return load_backbone(f"local-dir:{tiny_open_clip(tmp_path_factory.mktemp('models') / 'clip')}")


def scores_of(results):
    return scores_table({"base": results})["base"]


def test_an_encoder_that_sees_what_is_asked_is_perfect(colour_results):
    scores = scores_of(colour_results)
    assert scores["mmvp_vlm"] == {"mean": 1.0, "Color and Appearance": 1.0, "Texts": 1.0}
    share = scores["clustering"]["between_class_share"]
    assert scores["clustering"] == pytest.approx(
        {"acc": 1.0, "nmi": 1.0, "ari": 1.0, "between_class_share": share}
    )
    assert 0.9 < share < 1  # images of one class differ by noise
    assert scores["zero_shot"] == {"acc1": 1.0, "acc5": 1.0, "mean_per_class_recall": 1.0}
    assert scores["linear_probe"] == {"lp_acc1": 1.0, "knn_acc1": 1.0}
    assert scores["probes"] == {"mean": 1.0, "warm": 1.0}
    assert set(scores["retrieval"].values()) == {1.0}
    assert scores["text_alignment"]["paired_cosine"] > 0.99
    assert scores["text_alignment"]["modality_gap"] < 0.05


def test_a_constant_encoder_gets_what_chance_leaves_it(sets):
    with pytest.warns(UserWarning, match="distinct clusters"):
        results = evaluate_encoder(ColourBackbone(image_scale=0.0), sets, OPTIONS)
    scores = scores_of(results)
    assert scores["mmvp_vlm"]["mean"] == 0
    assert results[0].extra == {"ties": 1.0}
    assert {row["pred1"] for row in results[0].answers} == {"tie"}
    assert scores["clustering"]["acc"] == pytest.approx(1 / 6)
    assert scores["linear_probe"]["lp_acc1"] == pytest.approx(1 / 6)
    assert scores["retrieval"]["text_retrieval_recall@1"] <= 1 / 6
    assert scores["retrieval"]["image_retrieval_recall@5"] == 0


def test_embeddings_do_not_depend_on_batches_and_are_not_normalised(tiny_backbone):
    pictures = images(5)
    one_by_one = embed_images(tiny_backbone, iter(pictures), 1)
    together = embed_images(tiny_backbone, iter(pictures), 5)
    assert together.shape == (5, 24)
    assert together.dtype == np.float32
    np.testing.assert_allclose(one_by_one, together, atol=1e-5)
    with torch.no_grad():
        expected = tiny_backbone.encode_image(
            torch.stack([tiny_backbone.preprocess(image) for image in pictures])
        )
    np.testing.assert_allclose(together, expected, atol=1e-5)
    assert embed_texts(tiny_backbone, ["a fish", "a cup", "two fish"], 2).shape == (3, 24)


def test_no_more_than_a_batch_of_images_is_taken_at_once_and_each_once(sets):
    backbone = ColourBackbone()
    evaluate_encoder(backbone, sets[1:2], OPTIONS)
    assert max(backbone.batch_sizes) == OPTIONS.batch_size
    assert sum(backbone.batch_sizes) == 2 * 8 * len(COLOURS)


def test_a_real_encoder_gives_the_same_results_twice(tiny_backbone, sets):
    first, second = (evaluate_encoder(tiny_backbone, sets, OPTIONS) for _ in range(2))
    assert first == second
    for result in first:
        for metric, value in result.scores.items():
            low, high = result.intervals[metric]
            assert low <= high
            assert np.isfinite([low, value, high]).all()


def test_keys_may_come_again_in_another_shard(tmp_path):
    """Shards that were written apart often number their samples alike; each image keeps its own
    captions.
    """
    (tmp_path / "dataset_type.txt").write_text("retrieval\n")
    shards = [
        {"0.png": image_bytes(COLOURS[name]), "0.txt": "\n".join([f"all {name}"] * number).encode()}
        for number, name in enumerate(COLOURS, 1)
    ]
    write_split(tmp_path / "test", shards)
    results = evaluate_encoder(ColourBackbone(), [open_set(tmp_path)], OPTIONS)
    assert set(scores_of(results)["retrieval"].values()) == {1.0}


def test_a_set_without_train_split_is_evaluated_without_probes(tmp_path):
    folder = write_classification(tmp_path / "set")
    (folder / "train").rename(tmp_path / "elsewhere")
    results = evaluate_encoder(ColourBackbone(), [open_set(folder)], OPTIONS)
    assert [result.benchmark for result in results] == ["clustering", "zero_shot"]


def test_a_train_split_of_one_class_is_not_probed(tmp_path, caplog):
    folder = write_classification(tmp_path / "set")
    samples = [classification_sample(f"{number}", 0, number) for number in range(4)]
    write_split(
        folder / "train", [{name: data for sample in samples for name, data in sample.items()}]
    )
    results = evaluate_encoder(ColourBackbone(), [open_set(folder)], OPTIONS)
    assert [result.benchmark for result in results] == ["clustering", "zero_shot"]
    assert "the class has one value only in the train split: it is not probed" in caplog.text


def test_samples_that_name_different_attributes_are_an_error(tmp_path):
    folder = write_classification(tmp_path / "set")
    shard = {}
    for key, attributes in (("a", {"sun": 1}), ("b", {"sun": 1, "colour": 2})):
        shard |= {f"{key}.png": _png(), f"{key}.cls": b"0", f"{key}.json": _json(attributes)}
    write_split(folder / "test", [shard])
    with pytest.raises(UserError, match="'a' and 'b' name different attributes"):
        evaluate_encoder(ColourBackbone(), [open_set(folder)], OPTIONS)


def test_a_broken_encoder_is_an_error(sets):
    with pytest.raises(UserError, match="NaN or infinity for mmvp_vlm images"):
        evaluate_encoder(ColourBackbone(image_scale=float("nan")), sets, OPTIONS)


def test_records_have_clip_benchmarks_keys(colour_results):
    records = result_records({"dcr": colour_results}, "ViT-L-14", "en")
    assert all(
        list(record) == ["dataset", "model", "pretrained", "task", "metrics", "language"]
        for record in records
    )
    record = next(record for record in records if record["task"] == "zeroshot_classification")
    assert json.loads(json.dumps(record)) == {
        "dataset": "colours",
        "model": "ViT-L-14",
        "pretrained": "dcr",
        "task": "zeroshot_classification",
        "metrics": {"acc1": 1.0, "acc5": 1.0, "mean_per_class_recall": 1.0},
        "language": "en",
    }
    assert (
        next(record for record in records if record["dataset"] == "mmvp_vlm")["metrics"]["ties"]
        == 0
    )


def test_tables_hold_every_item_and_question(colour_results):
    evaluations = {"base": colour_results, "dcr": colour_results}
    outcomes = outcomes_table(evaluations)
    assert list(outcomes.columns) == ["encoder", "benchmark", "item", "group", "correct"]
    sizes = outcomes[outcomes.encoder == "dcr"].groupby("benchmark").size()
    assert sizes.to_dict() == {
        "mmvp_vlm": 4,
        "clustering": 48,
        "zero_shot": 48,
        "linear_probe": 48,
        "probes": 48,
        "retrieval": 12,
    }
    assert set(outcomes.query("benchmark == 'mmvp_vlm'").item) == {"1-2", "3-4", "5-6", "7-8"}
    intervals = intervals_table(evaluations)
    assert intervals["dcr"]["zero_shot"]["acc1"] == [1.0, 1.0]
    assert {name: list(table) for name, table in intervals["base"].items()} == {
        name: list(table) for name, table in scores_table(evaluations)["base"].items()
    }
    answers = answers_tables(evaluations)
    assert list(answers) == ["mmvp_base", "mmvp_dcr"]
    assert list(answers["mmvp_dcr"].columns) == [
        "qid1", "qid2", "pred1", "pred2", "gt1", "gt2", "q1score", "q2score"
    ]  # fmt: skip
    assert (answers["mmvp_dcr"].pred1 == "img1").all()
    assert (answers["mmvp_dcr"].q2score < 0.5).all()


def _png():
    return image_bytes((10, 20, 30))


def _json(attributes):
    return json.dumps({"attributes": attributes}).encode()
