"""Encoders on segmentation sets: what patch tokens tell of each pixel's class."""

from functools import partial

import numpy as np
import pytest

from benchmark_folders import write_mmvp
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import (
    Embedder,
    EvaluationCache,
    NamedSet,
    describe_failures,
    evaluate_encoder,
    evaluate_encoders,
    segmentation,
)
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure
from dcr.evaluation.one_set import evaluate_set
from dcr.evaluation.tables import result_records, scores_table, set_records
from dcr.metrics.bootstrap import Bootstrap
from dcr.metrics.patch_readers import fit_linear
from dcr.models.backbones import load_backbone
from evaluation_options import quick_options
from models import tiny_open_clip
from voc_sets import IGNORED, SIDE, PatchBackbone, png, write_voc

ONE = quick_options(num_segmentation_neighbours=1)


def result_of(kind, folder, options=ONE):
    (result,) = evaluate_encoder(PatchBackbone(kind), [open_set(folder)], options)
    return result


def named(**folders):
    return [
        NamedSet(name, "segmentation", partial(open_set, folder, name, "segmentation"))
        for name, folder in folders.items()
    ]


def test_tokens_that_tell_the_class_are_perfect(tmp_path):
    result = result_of("colour", write_voc(tmp_path / "set"))
    assert result.scores == {"linear_miou": 1.0, "knn_miou": 1.0}
    assert result.intervals == {"linear_miou": (1.0, 1.0), "knn_miou": (1.0, 1.0)}
    assert {f"linear_iou_{index}": 1.0 for index in range(4)}.items() <= result.extra.items()
    assert {value for *_, value in result.outcomes} == {1.0}


def test_constant_tokens_give_the_class_that_most_train_pixels_have(tmp_path):
    train = np.repeat([0, 1, 1, 1], SIDE // 4)[:, None] * np.ones((1, SIDE), int)
    test = np.repeat([0, 0, 1, 1], SIDE // 4)[:, None] * np.ones((1, SIDE), int)
    folder = write_voc(tmp_path / "set", 1, 1, masks={"train_000": train, "val_000": test})
    everyone = quick_options(num_segmentation_neighbours=10**6)
    # Of class 1 half is right and all is predicted, of class 0 nothing is.
    wanted = pytest.approx((0.5 + 0) / 2)
    assert result_of("constant", folder, everyone).scores == {
        "linear_miou": wanted,
        "knn_miou": wanted,
    }


def test_random_tokens_are_right_by_chance(tmp_path):
    folder = write_voc(tmp_path / "set", 150, 150)
    # Predicted as often as there, but independently: 1/C^2 right of 2/C - 1/C^2.
    assert result_of("random", folder).scores["knn_miou"] == pytest.approx(1 / 7, abs=0.02)
    seen = result_of("random", folder).scores["linear_miou"]
    assert 1 / (4 * 4) - 0.02 < seen < 1 / 7 + 0.02  # one class everywhere, to all alike


def test_a_single_pixel_that_counts_decides(tmp_path):
    alone = np.full((SIDE, SIDE), IGNORED)
    alone[4:8, 4:8] = 2  # a patch of the tower's, of which one pixel is kept
    whole = write_voc(tmp_path / "whole", 20, 1, masks={"val_000": alone})
    mask = alone.copy()
    mask[4:8, 4:8] = IGNORED
    for value in (2, 1):
        mask[4:6, 4:6] = value
        (whole / "SegmentationClass" / "val_000.png").write_bytes(png(mask))
        result = result_of("colour", whole)
        assert result.scores == dict.fromkeys(("linear_miou", "knn_miou"), float(value == 2))
        assert result.extra["linear_pixel_acc"] == float(value == 2)


def test_the_interval_is_that_of_resampled_images(tmp_path):
    folder = write_voc(tmp_path / "set", 30, 12)
    result = result_of("random", folder)
    low, high = result.intervals["knn_miou"]
    assert low < result.scores["knn_miou"] < high
    assert result.unit == "image"
    assert result.replicates["knn_miou"].shape == (50,)


def test_encoders_are_compared_on_the_same_resamples(tmp_path):
    sets = named(voc=write_voc(tmp_path / "set"))
    encoders = {
        "base": lambda: PatchBackbone("random"),
        "dcr": lambda: PatchBackbone("colour"),
    }
    evaluations, failures = evaluate_encoders(encoders, sets, ONE)
    assert failures == []
    table = scores_table(evaluations)
    assert table["dcr"]["segmentation"] == {"linear_miou": 1.0, "knn_miou": 1.0}
    compared = Judge(measure(evaluations), 0.95, []).compare("base", "dcr")
    assert {c.key: c.verdict for c in compared} == {
        "segmentation.linear_miou": "better",
        "segmentation.knn_miou": "better",
    }
    (record,) = set_records(sets, evaluations)
    assert (record["kind"], record["benchmarks"]) == ("segmentation", ["segmentation"])
    (_, line) = result_records(evaluations, "model", "en")
    assert line["task"] == "semantic_segmentation"
    assert line["metrics"]["knn_iou_3"] == 1.0


def test_each_image_passes_the_tower_once_and_a_second_time_not_at_all(tmp_path):
    dataset = open_set(write_voc(tmp_path / "set", 5, 4))
    backbone = PatchBackbone()
    cache = EvaluationCache(tmp_path / "cache")
    first = evaluate_set(Embedder(backbone, 3, 2, cache), dataset, ONE)
    assert backbone.num_seen == 9
    other = quick_options(num_segmentation_neighbours=1, num_workers=1, batch_size=2)
    assert evaluate_set(Embedder(PatchBackbone(), 2, 1, cache), dataset, other) == first
    resampled = quick_options(num_segmentation_neighbours=1, probe_max_iterations=500)
    again = evaluate_set(Embedder(backbone, 3, 0, cache), dataset, resampled)
    assert again == first
    assert backbone.num_seen == 9


def test_other_resamples_need_no_tower(tmp_path):
    dataset = open_set(write_voc(tmp_path / "set", 5, 4))
    backbone = PatchBackbone()
    cache = EvaluationCache(tmp_path / "cache")
    evaluate_set(Embedder(backbone, 3, 0, cache), dataset, ONE)
    wider = quick_options(num_segmentation_neighbours=1, bootstrap=Bootstrap(70, 0.9, 0))
    (result,) = evaluate_set(Embedder(backbone, 3, 0, cache), dataset, wider)
    assert result.replicates["knn_miou"].shape == (70,)
    assert backbone.num_seen == 9


def test_train_patches_are_drawn_by_a_seed_of_their_own(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        segmentation,
        "fit_linear",
        lambda tokens, shares, *rest: seen.append(tokens) or fit_linear(tokens, shares, *rest),
    )
    folder = write_voc(tmp_path / "set", 12, 2)
    for batch_size in (1, 5, 7):
        options = quick_options(num_segmentation_patches=20, batch_size=batch_size)
        result_of("colour", folder, options)
    assert [len(tokens) for tokens in seen] == [20] * 3
    assert all((tokens == seen[0]).all() for tokens in seen)


def test_dropped_images_are_left_out_of_a_second_score(tmp_path):
    masks = {"val_000": np.zeros((SIDE, SIDE), int)}
    folder = write_voc(tmp_path / "set", 6, 3, masks=masks)
    mask = folder / "SegmentationClass" / "val_000.png"
    mask.write_bytes(png(np.full((SIDE, SIDE), 3)))  # its picture shows class 0
    (folder / "overrides.csv").write_text("item,action,value,reason\nval_000,drop,,wrong mask\n")
    backbone = PatchBackbone()
    found = evaluate_encoder(backbone, [open_set(folder)], ONE)
    scores = {result.benchmark: result.scores for result in found}
    assert scores["segmentation"]["linear_miou"] < 1
    assert scores["segmentation/overrides"]["linear_miou"] == 1
    assert backbone.num_seen == 9
    (folder / "overrides.csv").write_text("item,action,value,reason\nval_000,correct,3,why\n")
    with pytest.raises(UserError, match=r"overrides\.csv, line 2: a mask cannot be corrected"):
        evaluate_encoder(backbone, [open_set(folder)], ONE)


def test_a_broken_set_is_told_and_the_others_are_scored(tmp_path):
    broken = write_voc(tmp_path / "broken")
    (broken / "SegmentationClass" / "val_003.png").write_bytes(b"no picture")
    sets = named(whole=write_voc(tmp_path / "whole"), broken=broken)
    sets.append(NamedSet("mmvp_vlm", "mmvp_vlm", lambda: open_set(write_mmvp(tmp_path / "pairs"))))
    evaluations, failures = evaluate_encoders({"base": PatchBackbone}, sets, ONE)
    assert list(scores_table(evaluations)["base"]) == ["segmentation/whole", "mmvp_vlm"]
    (failure,) = failures
    assert (failure.set, failure.encoder) == ("broken", "base")
    told = describe_failures(failures)
    assert "val_003.png cannot be read" in told
    assert told.count("\n") == 0


def test_tokens_that_are_not_finite_are_refused(tmp_path):
    class Broken(PatchBackbone):
        def encode_tokens(self, pixels, layer=-2):
            embeddings, tokens = super().encode_tokens(pixels, layer)
            return embeddings, tokens / 0

    with pytest.raises(UserError, match="NaN or infinity for set train"):
        evaluate_encoder(Broken(), [open_set(write_voc(tmp_path / "set"))], ONE)


def test_patches_that_make_no_square_are_refused(tmp_path):
    class Oblong(PatchBackbone):
        def encode_tokens(self, pixels, layer=-2):
            embeddings, tokens = super().encode_tokens(pixels, layer)
            return embeddings, tokens[:, :15]

    with pytest.raises(UserError, match="no square grid of patch tokens"):
        evaluate_encoder(Oblong(), [open_set(write_voc(tmp_path / "set"))], ONE)


def test_the_tokens_are_those_that_llava_reads(tmp_path):
    backbone = load_backbone(f"local-dir:{tiny_open_clip(tmp_path / 'clip')}")
    layers = []
    encode = backbone.encode_tokens
    backbone.encode_tokens = lambda pixels, layer: layers.append(layer) or encode(pixels, layer)
    (result,) = evaluate_encoder(backbone, [open_set(write_voc(tmp_path / "set"))], ONE)
    assert set(layers) == {-2}
    assert 0 <= result.scores["linear_miou"] <= 1
