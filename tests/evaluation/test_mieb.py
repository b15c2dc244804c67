"""Tasks of mteb on an encoder of ours, with mteb's own task classes (PyPI; extra `mieb`)."""

import importlib.metadata
import io
import re
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

from benchmark_folders import ColourBackbone, image_bytes
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import (
    Embedder,
    EvaluationCache,
    NamedSet,
    describe_failures,
    evaluate_encoder,
    evaluate_encoders,
)
from dcr.evaluation.comparison import comparison_records
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure
from dcr.evaluation.one_set import evaluate_set
from dcr.evaluation.tables import result_records, scores_table, set_records
from dcr.metrics.caption_selection import answer_groups, compare_groups
from dcr.metrics.zero_shot import build_classifier, rank_labels
from dcr.models.backbones import load_backbone
from dcr.validation.contamination import fingerprint_sets
from evaluation_options import quick_options
from mieb_tasks import (
    NAMES,
    captions_of,
    picture,
    write_classification,
    write_clustering,
    write_sugar_crepe,
    write_winoground,
    write_zero_shot,
)
from models import tiny_open_clip

datasets = pytest.importorskip("datasets", reason="install the extra `mieb`")
pytest.importorskip("mteb", reason="install the extra `mieb`")

OPTIONS = quick_options()


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """All data lie in local folders."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return load_backbone(f"local-dir:{tiny_open_clip(tmp_path_factory.mktemp('models') / 'clip')}")


def open_task(folder, name=None):
    return open_set(folder, name, "mieb")


def result_of(backbone, folder, options=OPTIONS):
    (result,) = evaluate_encoder(backbone, [open_task(folder)], options)
    return result


def named(**folders):
    return [
        NamedSet(name, "mieb", partial(open_task, folder, name)) for name, folder in folders.items()
    ]


def test_an_encoder_that_sees_colours_is_perfect(tmp_path):
    result = result_of(ColourBackbone(), write_zero_shot(tmp_path))
    assert (result.benchmark, result.task) == ("mieb", "ZeroShotClassification")
    assert (result.scores, result.intervals) == ({"accuracy": 1.0}, {"accuracy": (1.0, 1.0)})
    assert result.extra["f1"] == 1.0
    assert result_of(ColourBackbone(), write_winoground(tmp_path)).scores == {"accuracy": 1.0}


def test_zero_shot_accuracy_is_that_of_our_own_metric_on_the_same_features(backbone, tmp_path):
    labels = np.random.default_rng(0).integers(0, 6, 40).tolist()
    result = result_of(backbone, write_zero_shot(tmp_path, 40, labels))
    images = [Image.open(io.BytesIO(picture(index)["bytes"])) for index in range(40)]
    features = np.stack([embed(backbone, image) for image in images])
    prompts = backbone.encode_text([f"a photo of a {name}." for name in NAMES]).numpy()
    ranks = rank_labels(features, build_classifier(prompts[:, None]), np.array(labels))
    assert result.scores["accuracy"] == pytest.approx(np.mean(ranks < 1), abs=1e-6)
    assert 0 < result.scores["accuracy"] < 1
    assert [right for *_, right in result.outcomes] == (ranks < 1).astype(float).tolist()
    low, high = result.intervals["accuracy"]
    assert low < result.scores["accuracy"] < high


def embed(backbone, image):
    return backbone.encode_image(backbone.preprocess(image)[None])[0].detach().numpy()


def test_winogrounds_scores_are_those_of_our_reader_of_the_same_file(backbone, tmp_path):
    folder = write_winoground(tmp_path, 40)
    result = result_of(backbone, folder)
    (ours, *_) = evaluate_encoder(backbone, [open_set(folder, kind="caption_selection")], OPTIONS)
    assert result.task == "Compositionality"
    assert result.scores["accuracy"] == pytest.approx(ours.scores["group_score"], abs=1e-6)
    assert result.extra["text_acc"] == pytest.approx(ours.scores["text_score"], abs=1e-6)
    assert result.extra["image_acc"] == pytest.approx(ours.scores["image_score"], abs=1e-6)


def test_of_a_tie_mteb_takes_the_first_which_may_be_right_and_ours_is_a_miss(backbone, tmp_path):
    folder = write_sugar_crepe(tmp_path, 12, num_ties=5)
    result = result_of(backbone, folder)
    found = [right for *_, right in result.outcomes]
    features = [
        embed(backbone, Image.open(io.BytesIO(picture(index)["bytes"]))) for index in range(12)
    ]
    texts = [backbone.encode_text(list(pair)).numpy() for pair in captions_of(12, num_ties=5)]
    ours = answer_groups(compare_groups(np.stack(features)[:, None], np.stack(texts)), ((0, 0),))[
        "text_score"
    ]
    assert found[:5] == [1.0] * 5
    assert not ours[:5].any()
    assert found[5:] == ours[5:].astype(float).tolist()


def test_a_linear_probe_has_its_items_over_the_tasks_experiments(tmp_path):
    result = result_of(ColourBackbone(), write_classification(tmp_path))
    assert result.task == "ImageClassification"
    shares = [right for *_, right in result.outcomes]
    assert np.mean(shares) == pytest.approx(result.scores["accuracy"], abs=1e-9)
    assert 0.5 < result.scores["accuracy"] < 1
    low, high = result.intervals["accuracy"]
    assert low < result.scores["accuracy"] < high


def test_a_task_without_items_has_a_score_and_no_interval_and_is_not_compared(tmp_path):
    folder = write_clustering(tmp_path)
    sets = named(clusters=folder)
    encoders = {"base": ColourBackbone, "dcr": lambda: ColourBackbone(0.5)}
    evaluations, failures = evaluate_encoders(encoders, sets, OPTIONS)
    assert failures == []
    (score,) = scores_table(evaluations)["base"]["mieb"].items()
    assert score[0] == "nmi"
    assert score[1] > 0.8
    (record,) = set_records(sets, evaluations)
    assert record["notes"] == [
        "mteb tells no items of this task: its score stands without an interval"
    ]
    judge = Judge(measure(evaluations), 0.95, [])
    assert comparison_records(judge.compare("base", "dcr")) == {}


def test_tasks_stand_beside_other_sets_in_scores_records_and_comparisons(backbone, tmp_path):
    sets = named(colours=write_zero_shot(tmp_path), pairs=write_winoground(tmp_path))
    encoders = {"base": lambda: ColourBackbone(image_scale=0.0), "other": ColourBackbone}
    evaluations, failures = evaluate_encoders(encoders, sets, OPTIONS)
    assert failures == []
    assert scores_table(evaluations)["other"] == {
        "mieb": {"accuracy": 1.0},
        "mieb/colours": {"accuracy": 1.0},
        "mieb/pairs": {"accuracy": 1.0},
    }
    compared = Judge(measure(evaluations), 0.95, []).compare("base", "other")
    assert {c.key: c.verdict for c in compared}["mieb/colours.accuracy"] == "better"
    lines = result_records(evaluations, "model", "en")
    assert {line["task"] for line in lines} == {"ZeroShotClassification", "Compositionality"}
    assert [record["benchmarks"] for record in set_records(sets, evaluations)] == [
        ["mieb/colours"],
        ["mieb/pairs"],
    ]


def test_results_are_kept_by_data_task_and_mteb(tmp_path, monkeypatch):
    folder = write_zero_shot(tmp_path)
    cache = EvaluationCache(tmp_path / "cache")
    backbone = ColourBackbone()
    first = evaluate_set(Embedder(backbone, 7, 0, cache), open_task(folder), OPTIONS)
    seen = len(backbone.batch_sizes)
    assert seen > 0
    again = evaluate_set(Embedder(backbone, 3, 0, cache), open_task(folder), OPTIONS)
    assert (again, len(backbone.batch_sizes)) == (first, seen)
    before = open_task(folder).fingerprint
    version = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "9" if name == "mteb" else version(name)
    )
    assert open_task(folder).fingerprint != before
    monkeypatch.undo()
    write_zero_shot(tmp_path / "other", 31)
    assert open_task(tmp_path / "other" / "CIFAR10ZeroShot").fingerprint != before


def test_training_images_are_looked_for_in_it(tmp_path):
    sets = {"colours": open_task(write_zero_shot(tmp_path, 7))}
    _, table = fingerprint_sets(sets, 10**6)
    assert table["image"].to_pylist()[:2] == ["colours/test/img/0", "colours/test/img/1"]
    assert len(table) == 7


def without_bytes(folder):
    place = write_zero_shot(folder)
    outside = folder / "outside.png"
    outside.write_bytes(image_bytes((1, 2, 3)))
    kinds = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = {"img": [{"bytes": None, "path": str(outside)}], "label": [0]}
    table = datasets.Dataset.from_dict(rows, features=kinds)
    table.to_parquet(place / "data" / "test-00000-of-00001.parquet")
    return place


def broken(folder):
    place = write_zero_shot(folder)
    (place / "data" / "test-00000-of-00001.parquet").write_bytes(b"no table")
    return place


def other_columns(folder):
    place = write_zero_shot(folder)
    table = datasets.Dataset.from_dict({"picture": [1]})
    table.to_parquet(place / "data" / "test-00000-of-00001.parquet")
    return place


def moved(folder):
    place = write_zero_shot(folder)
    (place / "data" / "test-00000-of-00001.parquet").rename(place / "data" / "train-0.parquet")
    return place


def no_picture(folder):
    place = write_zero_shot(folder)
    kinds = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    rows = {"img": [{"bytes": b"no picture", "path": None}], "label": [0]}
    table = datasets.Dataset.from_dict(rows, features=kinds)
    table.to_parquet(place / "data" / "test-00000-of-00001.parquet")
    return place


def no_labels(folder):
    place = write_zero_shot(folder)
    rows = {"img": [{"bytes": image_bytes((0, 0, 0), 0), "path": None}], "label": [None]}
    kinds = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
    table = datasets.Dataset.from_dict(rows, features=kinds)
    table.to_parquet(place / "data" / "test-00000-of-00001.parquet")
    return place


FAULTS = {
    "no such folder": (lambda folder: folder / "CIFAR10ZeroShot", "the folder does not exist"),
    "no such task": (lambda folder: folder / "CIFAR11", "mteb has no task 'CIFAR11'"),
    "a task of texts": (lambda folder: folder / "STS12", "STS12 of mteb is not of images"),
    "no file of its split": (moved, r"has no test-\*\.parquet, which the task CIFAR10ZeroShot"),
    "no table": (broken, "task CIFAR10ZeroShot cannot be read from .*CIFAR10ZeroShot"),
    "other columns": (other_columns, "CIFAR10ZeroShot"),
    "no labels": (
        no_labels,
        r"cannot score its task CIFAR10ZeroShot \(\w+: .*\): see whether",
    ),
    "no picture": (no_picture, "the image of mteb's task cannot be decoded"),
    "paths for images": (without_bytes, "column img must hold encoded images, not paths of files"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_broken_is_told_in_a_sentence_and_the_others_are_scored(fault, tmp_path):
    spoil, told = FAULTS[fault]
    sets = named(broken=spoil(tmp_path / "broken"), whole=write_zero_shot(tmp_path / "whole"))
    evaluations, failures = evaluate_encoders({"base": ColourBackbone}, sets, OPTIONS)
    assert scores_table(evaluations)["base"] == {"mieb/whole": {"accuracy": 1.0}}
    assert [failure.set for failure in failures] == ["broken"]
    sentence = describe_failures(failures)
    assert re.search(told, sentence)
    assert "\n" not in sentence


def test_a_mistake_of_ours_is_not_told_as_mtebs(tmp_path, monkeypatch):
    mistake = TypeError("a mistake")

    def fail(*_):
        raise mistake

    monkeypatch.setattr("dcr.evaluation.mieb.zero_shot_items", fail)
    with pytest.raises(TypeError) as caught:
        result_of(ColourBackbone(), write_zero_shot(tmp_path))
    assert caught.value is mistake


def test_a_task_that_is_named_alone_comes_from_the_hubs_cache(tmp_path, monkeypatch):
    place = write_zero_shot(tmp_path)
    table = str(place / "data" / "test-00000-of-00001.parquet")
    dataset = open_task("CIFAR10ZeroShot")
    assert (dataset.folder, dataset.fingerprint) == ("", open_task("CIFAR10ZeroShot").fingerprint)
    with pytest.raises(UserError, match="CIFAR10ZeroShot cannot be read from the hub's cache"):
        dataset.load()
    asked = []

    def cached(path, revision, **options):
        asked.append((path, len(revision)))
        return datasets.DatasetDict({"test": datasets.Dataset.from_parquet(table)})

    monkeypatch.setattr("mteb.abstasks.abstask.load_dataset", cached)
    (result,) = evaluate_encoder(ColourBackbone(), [dataset], OPTIONS)
    assert result.scores == {"accuracy": 1.0}
    assert asked == [("mteb/cifar10", 40)]


def test_a_missing_extra_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    with pytest.raises(UserError, match=r"pip install 'dcr\[mieb\]'"):
        open_task(tmp_path / "CIFAR10ZeroShot")
