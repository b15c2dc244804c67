"""A set with overrides is scored with and without them, and embedded once."""

import pytest

from benchmark_folders import (
    ColourBackbone,
    write_classification,
    write_mmvp,
    write_retrieval,
)
from caption_sets import write_groups
from dcr.data.benchmark_sets import NamedSet, open_set
from dcr.errors import UserError
from dcr.evaluation import EvaluationCache, evaluate_encoder, evaluate_encoders
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure
from dcr.evaluation.tables import result_records, scores_table, set_records
from evaluation_options import quick_options

HEAD = "item,action,value,reason\n"
OPTIONS = quick_options()
WRITERS = {
    "mmvp_vlm": write_mmvp,
    "classification": write_classification,
    "retrieval": write_retrieval,
    "caption_selection": write_groups,
}


def overridden(folder, kind, *rows):
    """Write a set of a kind with overrides."""
    WRITERS[kind](folder)
    (folder / "overrides.csv").write_text(HEAD + "".join(f"{row}\n" for row in rows))
    return folder


def scores_of(folder, kind):
    results = evaluate_encoder(ColourBackbone(), [open_set(folder, kind=kind)], OPTIONS)
    return scores_table({"base": results})["base"]


def test_a_group_whose_pairing_is_wrong_is_dropped_or_corrected(tmp_path):
    folder = write_groups(tmp_path / "set")
    text = (folder / "groups.jsonl").read_text()
    wrong = text.replace("[[0, 1], [1, 0]]", "[[0, 0], [1, 1]]", 2)
    (folder / "groups.jsonl").write_text(wrong)
    table = folder / "overrides.csv"
    for rows in ("g0,drop,,wrong\ng1,drop,,wrong\n", "g0,correct,0-1 1-0,wrong\ng1,drop,,wrong\n"):
        table.write_text(HEAD + rows)
        scores = scores_of(folder, "caption_selection")
        assert scores["caption_selection"]["group_score"] == pytest.approx(4 / 6)
        assert scores["caption_selection/overrides"]["group_score"] == 1.0


def test_a_label_that_is_wrong_is_corrected(tmp_path):
    folder = overridden(
        tmp_path / "set",
        "classification",
        "s0000000,correct,green,wrong",
        "s0000001,drop,,unclear",
    )
    scores = scores_of(folder, "classification")
    assert scores["zero_shot"]["acc1"] == 1.0
    assert scores["zero_shot/overrides"]["acc1"] == pytest.approx(46 / 47)
    assert scores["linear_probe/overrides"]["lp_acc1"] == pytest.approx(46 / 47)
    assert set(scores) == {
        f"{name}{end}" for name in list(scores)[:4] for end in ("", "/overrides")
    }


def test_captions_that_are_wrong_are_corrected(tmp_path):
    folder = overridden(
        tmp_path / "set", "retrieval", '0000,correct,"all blue\nthis is red",two', "0003,drop,,none"
    )
    scores = scores_of(folder, "retrieval")
    assert scores["retrieval"]["image_retrieval_recall@1"] == 1.0
    # 5 images with 10 captions remain, of which one names another colour
    assert scores["retrieval/overrides"]["image_retrieval_recall@1"] == pytest.approx(9 / 10)


def test_texts_of_a_pair_are_exchanged(tmp_path):
    folder = overridden(
        tmp_path / "set", "mmvp_vlm", "1-2,correct,swap,turned", "7-8,drop,,blurred"
    )
    scores = scores_of(folder, "mmvp_vlm")
    assert scores["mmvp_vlm"] == {"mean": 1.0, "Color and Appearance": 1.0, "Texts": 1.0}
    assert scores["mmvp_vlm/overrides"] == {"mean": 0.75, "Color and Appearance": 0.5, "Texts": 1.0}


@pytest.mark.parametrize(
    ("kind", "row", "told"),
    [
        ("caption_selection", "g9,drop,,why", "line 2: item 'g9' must be one of the set"),
        ("caption_selection", "g0,correct,0:1,why", "line 2: the value must hold pairs"),
        ("caption_selection", "g0,correct,0-2,why", "line 2: pair [0, 2] names no place among"),
        ("caption_selection", "g0,correct,0-1 0-1,why", "line 2: a group needs one pair of image"),
        ("caption_selection", "g0,correct,   ,why", "line 2: "),
        (
            "classification",
            "s0000000,correct,grey,why",
            "line 2: the value must be the name of one",
        ),
        ("mmvp_vlm", "1-2,correct,turn,why", "line 2: of a pair the texts can be exchanged"),
        ("mmvp_vlm", "1,drop,,why", "item '1' must be one of the set, but there is none"),
    ],
)
def test_overrides_that_do_not_fit_their_set(kind, row, told, tmp_path):
    folder = overridden(tmp_path / "set", kind, row)
    with pytest.raises(UserError) as error:
        scores_of(folder, kind)
    assert f"{folder}/overrides.csv" in str(error.value)
    assert told in str(error.value)


ITEMS = {
    "mmvp_vlm": "1-2",
    "classification": "s0000000",
    "retrieval": "0000",
    "caption_selection": "g0",
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("cached", [False, True])
def test_images_are_embedded_once(kind, cached, tmp_path):
    numbers = {}
    for rows in ((), (f"{ITEMS[kind]},drop,,why",)):
        folder = overridden(tmp_path / f"{len(rows)}", kind, *rows)
        backbone = ColourBackbone()
        named = [NamedSet("one", kind, lambda folder=folder: open_set(folder, kind=kind))]
        cache = EvaluationCache(tmp_path / f"cache{len(rows)}") if cached else None
        evaluate_encoders({"base": lambda backbone=backbone: backbone}, named, OPTIONS, cache)
        numbers[len(rows)] = sum(backbone.batch_sizes)
    assert numbers[0] == numbers[1] > 0


def test_several_sets_keep_their_mean_and_records_say_what_was_overridden(tmp_path):
    folders = {
        "one": overridden(tmp_path / "one", "caption_selection", "g0,drop,,blurred"),
        "two": write_groups(tmp_path / "two"),
    }
    sets = [
        NamedSet(name, "caption_selection", lambda folder=folder: open_set(folder))
        for name, folder in folders.items()
    ]
    encoders = {"base": ColourBackbone, "other": lambda: ColourBackbone(0.7)}
    evaluations, failures = evaluate_encoders(encoders, sets, OPTIONS)
    assert failures == []
    names = [name for name in scores_table(evaluations)["base"] if name.startswith("caption_sel")]
    assert names == [
        "caption_selection",
        "caption_selection/one",
        "caption_selection/one+overrides",
        "caption_selection/two",
    ]
    one, two = set_records(sets, evaluations)
    assert one["overrides"] == {"drop": 1, "correct": 0}
    assert two["overrides"] == {}
    assert "overrides.csv drops 1 and corrects 0 items: blurred (1)" in one["notes"]
    assert "caption_selection/one+overrides" in one["benchmarks"]
    datasets = {record["dataset"] for record in result_records(evaluations, "m", "en")}
    assert datasets == {"one", "one+overrides", "two"}
    compared = Judge(measure(evaluations), 0.95, []).compare("base", "other")
    assert "caption_selection/one+overrides.text_score" in {c.key for c in compared}


def test_what_is_kept_of_a_set_follows_its_overrides(tmp_path):
    folder = overridden(tmp_path / "set", "caption_selection", "g0,drop,,why")
    cache = EvaluationCache(tmp_path / "cache")

    def count():
        named = [NamedSet("one", "caption_selection", lambda: open_set(folder))]
        (results,) = evaluate_encoders({"base": ColourBackbone}, named, OPTIONS, cache)[0].values()
        return [len(r.outcomes) for r in results if r.benchmark.startswith("caption_selection")]

    assert count() == [6 * 4, 5 * 4]
    (folder / "overrides.csv").write_text(f"{HEAD}g0,drop,,why\ng1,drop,,why\n")
    assert count() == [6 * 4, 4 * 4]
