"""Encoders on sets of caption selection: all rules from one embedding of each image and caption."""

import numpy as np
import pytest

from benchmark_folders import ColourBackbone, write_mmvp
from caption_sets import (
    NAMES,
    write_aro,
    write_caption_tars,
    write_groups,
    write_image,
    write_lines,
    write_sugar_crepe,
    write_sugar_crepe_pp,
    write_whats_up,
    write_winoground,
)
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import NamedSet, describe_failures, evaluate_encoder, evaluate_encoders
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure
from dcr.evaluation.tables import result_records, scores_table, set_records
from dcr.models.backbones import load_backbone
from evaluation_options import quick_options
from models import tiny_open_clip

OPTIONS = quick_options()
TEXT_ALONE = ["text_score"]
ALL = ["image_score", "text_score", "group_score", "group_match"]
LAYOUTS = {
    "groups.jsonl": (write_groups, ALL),
    "SugarCrepe": (write_sugar_crepe, TEXT_ALONE),
    "SugarCrepe++": (write_sugar_crepe_pp, TEXT_ALONE),
    "ARO": (write_aro, TEXT_ALONE),
    "What'sUp": (write_whats_up, TEXT_ALONE),
    "Winoground": (write_winoground, ALL),
    "CLIP_benchmark": (write_caption_tars, TEXT_ALONE),
    "MMVP-VLM": (write_mmvp, ALL),
}


def open_selection(folder):
    return open_set(folder, kind="caption_selection")


def named(**sets):
    return [NamedSet(name, "caption_selection", opener) for name, opener in sets.items()]


def results_of(backbone, dataset, **changes):
    found = evaluate_encoder(backbone, [dataset], quick_options(**changes))
    return {result.benchmark: result for result in found}


class WordyBackbone(ColourBackbone):
    """Counts the texts that it embeds."""

    def __init__(self):
        super().__init__()
        self.num_texts = 0

    def encode_text(self, texts):
        self.num_texts += len(texts)
        return super().encode_text(texts)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_encoder_that_sees_what_is_asked_is_perfect_and_a_constant_one_answers_nothing(
    layout, tmp_path
):
    write, rules = LAYOUTS[layout]
    dataset = open_selection(write(tmp_path / "set"))
    seen = results_of(ColourBackbone(), dataset)["caption_selection"]
    assert seen.scores == dict.fromkeys(rules, 1.0)
    assert seen.rules == {rule: rule for rule in rules}
    assert seen.task == "image_caption_selection"
    constant = results_of(ColourBackbone(image_scale=0.0), dataset)["caption_selection"]
    if "image_score" in rules:
        assert constant.scores == dict.fromkeys(rules, 0.0)
    else:  # its texts differ, and the one image has a nearest of them
        assert constant.scores["text_score"] < 1


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_image_and_caption_is_embedded_once(layout, tmp_path):
    dataset = open_selection(LAYOUTS[layout][0](tmp_path / "set"))
    backbone = WordyBackbone()
    results_of(backbone, dataset, compare_features=True)
    captions = {caption for group in dataset.groups() for caption in group.captions}
    assert sum(backbone.batch_sizes) == len(list(dataset.samples("test")))
    assert backbone.num_texts == len(captions)


@pytest.mark.parametrize(
    ("write", "chance"),
    [
        (write_groups, {"image_score": 0.25, "text_score": 0.25, "group_score": 1 / 6}),
        (write_sugar_crepe, {"text_score": 0.5}),
        (write_sugar_crepe_pp, {"text_score": 1 / 3}),
        (write_whats_up, {"text_score": (1 / 4 + 1 / 2) / 2}),  # as many groups of four as of two
        (write_caption_tars, {"text_score": 1 / 3}),
    ],
)
def test_records_say_what_chance_gives(write, chance, tmp_path):
    result = results_of(ColourBackbone(), open_selection(write(tmp_path / "set")))[
        "caption_selection"
    ]
    assert {rule: result.chance[rule] for rule in chance} == pytest.approx(chance)
    (record,) = result_records({"base": [result]}, "model", "en")
    assert {rule: record["metrics"][f"chance_{rule}"] for rule in chance} == pytest.approx(chance)
    assert {"image_acc", "text_acc", "acc"} < set(record["metrics"])


def test_the_record_of_a_set_names_rules_chance_and_those_of_published_numbers(tmp_path):
    folder = write_mmvp(tmp_path / "set")
    sets = named(pairs=lambda: open_selection(folder))
    sets.append(NamedSet("mmvp_vlm", "mmvp_vlm", lambda: open_set(folder)))
    evaluations, failures = evaluate_encoders({"base": ColourBackbone}, sets, OPTIONS)
    assert failures == []
    selection, mmvp = set_records(sets, evaluations)
    assert selection["published_rules"] == mmvp["published_rules"] == ["image_score"]
    assert mmvp["rules"]["mmvp_vlm"]["mean"] == {"rule": "image_score", "chance": 0.25}
    assert selection["rules"]["caption_selection"]["group_match"] == {
        "rule": "group_match",
        "chance": 0.5,
    }


def test_rules_that_leave_nothing_to_choose_are_told(tmp_path):
    result = results_of(ColourBackbone(), open_selection(write_sugar_crepe(tmp_path / "set")))[
        "caption_selection"
    ]
    assert result.notes == [
        "not scored by image_score, group_score, group_match: groups have 1 and 2 images and"
        " captions"
    ]


@pytest.fixture(scope="module")
def random_encoder(tmp_path_factory):
    return load_backbone(f"local-dir:{tiny_open_clip(tmp_path_factory.mktemp('models') / 'clip')}")


@pytest.fixture
def mixed_set(tmp_path):
    """Groups of several shapes, in which images and captions come again."""
    folder = tmp_path / "mixed"
    for number, name in enumerate(NAMES):
        write_image(folder / f"{number}.png", name)
    generator = np.random.default_rng(0)
    rows = []
    for number in range(60):
        size = 2 + number % 2
        images = generator.permutation(6)[:size]
        rows.append(
            {
                "group": str(number),
                "images": [f"{image}.png" for image in images],
                "captions": [f"{NAMES[image]} {number % 5}" for image in images],
                "pairs": [[place, place] for place in range(size)],
                "type": ("odd", "even", "mean")[number % 3],
            }
        )
    write_lines(folder / "groups.jsonl", rows)
    return open_set(folder)


def answers_plainly(backbone, dataset):
    """Return image_score, text_score and group_score of each group, one group at a time."""
    samples = list(dataset.samples("test"))
    answers = []
    for group in dataset.groups():
        pixels = [backbone.preprocess(samples[place].image) for place in group.images]
        import torch

        with torch.no_grad():
            images = backbone.encode_image(torch.stack(pixels)).double()
            texts = backbone.encode_text(list(group.captions)).double()
        images /= images.norm(dim=1, keepdim=True)
        texts /= texts.norm(dim=1, keepdim=True)
        table = (images @ texts.T).tolist()
        places = range(len(table))
        image = all(table[p][p] > table[o][p] for p in places for o in places if o != p)
        text = all(table[p][p] > table[p][o] for p in places for o in places if o != p)
        answers.append((image, text, image and text))
    return answers


def test_scores_are_those_of_plain_loops(random_encoder, mixed_set):
    result = results_of(random_encoder, mixed_set)["caption_selection"]
    plain = answers_plainly(random_encoder, mixed_set)
    rules = ALL[:3]
    for rule, answers in zip(rules, zip(*plain, strict=True), strict=True):
        assert result.scores[rule] == pytest.approx(np.mean(answers))
        own = [correct for _, group, correct in result.outcomes if group == rule]
        assert own == [float(answer) for answer in answers]
    assert 0 < result.scores["text_score"] < 1


def test_types_have_their_shares_by_the_first_rule(random_encoder, mixed_set):
    results = results_of(random_encoder, mixed_set)
    types = results["caption_types"]
    plain = [image for image, *_ in answers_plainly(random_encoder, mixed_set)]
    assert set(types.rules.values()) == {"image_score"}
    assert types.scores["odd"] == pytest.approx(np.mean(plain[0::3]))
    assert types.scores["type mean"] == pytest.approx(np.mean(plain[2::3]))
    shares = [types.scores[name] for name in ("odd", "even", "type mean")]
    assert types.scores["mean"] == pytest.approx(np.mean(shares))


def test_mmvps_pairs_have_the_answers_of_mmvp(random_encoder, tmp_path):
    folder = write_mmvp(tmp_path / "set", pairs=12)
    (mmvp,) = evaluate_encoder(random_encoder, [open_set(folder)], OPTIONS)
    selection = results_of(random_encoder, open_selection(folder))
    assert mmvp.extra["ties"] == 0
    assert list(selection) == ["caption_selection"]  # its types are told by the other kind
    correct = {item: value for item, _, value in mmvp.outcomes}
    own = {
        item: value
        for item, group, value in selection["caption_selection"].outcomes
        if group == "image_score"
    }
    assert own == correct


def test_two_encoders_are_compared_group_by_group(random_encoder, mixed_set):
    sets = named(mixed=lambda: mixed_set)
    encoders = {"base": ColourBackbone, "other": lambda: random_encoder}
    evaluations, _ = evaluate_encoders(encoders, sets, quick_options())
    judge = Judge(measure(evaluations), 0.95, [])
    found = {c.metric: c for c in judge.compare("base", "other") if c.benchmark.endswith("tion")}
    assert list(found) == ALL
    difference = found["text_score"].difference
    values = {name: results[0].scores["text_score"] for name, results in evaluations.items()}
    assert difference.value == pytest.approx(values["other"] - values["base"])
    assert difference.low <= difference.value <= difference.high < 0


def test_groups_of_several_shapes_of_which_no_rule_asks_all(tmp_path):
    folder = write_groups(tmp_path / "set")
    row = {"images": ["images/red.png", "images/blue.png"], "captions": ["red"], "pairs": [[0, 0]]}
    turned = {"images": ["images/red.png"], "captions": ["red", "blue"], "pairs": [[0, 0]]}
    write_lines(folder / "groups.jsonl", [row | {"group": "a"}, turned | {"group": "b"}])
    with pytest.raises(UserError, match="no rule asks something of all its groups"):
        results_of(ColourBackbone(), open_set(folder))


def test_features_are_compared_where_it_is_asked_for(tmp_path):
    sets = named(mixed=lambda: open_set(write_groups(tmp_path / "set")))
    encoders = {"base": ColourBackbone, "other": lambda: ColourBackbone(0.5)}
    options = quick_options(compare_features=True, num_compared_neighbours=2)
    evaluations, failures = evaluate_encoders(encoders, sets, options)
    assert failures == []
    scores = scores_table(evaluations)
    assert scores["base"]["caption_alignment"]["paired_cosine"] > 0.99
    assert "caption_drift" not in scores["base"]
    assert 0 < scores["other"]["caption_drift"]["cka"] <= 1


def broken(tmp_path):
    """Return {set: opener} of every layout, each broken where its first error shows."""
    from benchmark_folders import write_split

    def spoil(folder, name, content=b"\n\n{]"):
        next(folder.rglob(name)).write_bytes(content)
        return folder

    folders = {
        "jsonl": spoil(write_groups(tmp_path / "jsonl"), "groups.jsonl"),
        "sugar": spoil(write_sugar_crepe(tmp_path / "sugar"), "swap_obj.json"),
        "sugar_pp": spoil(write_sugar_crepe_pp(tmp_path / "sugar_pp"), "replace_object.json"),
        "aro": spoil(write_aro(tmp_path / "aro"), "visual_genome_relation.json"),
        "whats_up": spoil(write_whats_up(tmp_path / "whats_up"), "coco_qa_one_obj.json"),
        "winoground": spoil(write_winoground(tmp_path / "winoground"), "*.parquet", b"PAR1PAR1"),
        "tars": write_caption_tars(tmp_path / "tars"),
    }
    write_split(folders["tars"] / "test", [{"a.txt": b"one\ntwo\n"}])
    return folders


def test_of_each_layout_a_broken_set_is_told_in_one_sentence_and_the_others_are_scored(tmp_path):
    folders = broken(tmp_path)
    whole = write_groups(tmp_path / "whole")
    sets = named(
        **{name: lambda folder=folder: open_selection(folder) for name, folder in folders.items()},
        whole=lambda: open_selection(whole),
    )
    evaluations, failures = evaluate_encoders({"base": ColourBackbone}, sets, OPTIONS)
    assert {failure.set for failure in failures} == set(folders)
    for failure in failures:
        assert str(folders[failure.set]) in failure.error
        assert "\n" not in failure.error
    lines = {failure.set: failure.error for failure in failures}
    for name in ("jsonl", "sugar", "sugar_pp", "aro", "whats_up"):
        assert "line 3: not valid JSON" in lines[name]
    assert scores_table(evaluations)["base"]["caption_selection/whole"] == dict.fromkeys(ALL, 1.0)
    assert "the scores of all others are written" in describe_failures(failures)
