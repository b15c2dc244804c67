"""Captions that a text tower cannot read to their end are counted and told."""

import pytest

from benchmark_folders import (
    COLOURS,
    ColourBackbone,
    image_bytes,
    write_classification,
    write_mmvp,
    write_split,
)
from caption_sets import write_groups
from dcr.data.benchmark_sets import NamedSet, open_set
from dcr.evaluation import evaluate_encoder, evaluate_encoders
from dcr.evaluation.long_texts import CutTexts, count_cut
from dcr.evaluation.tables import result_records, set_records
from dcr.models.backbones import load_backbone
from evaluation_options import quick_options
from models import tiny_open_clip

LONG = " and more" * 20  # a colour backbone reads 60 letters


def write_long_retrieval(folder):
    """Write an image a colour with two captions, of which one is long for each second image."""
    members = {}
    for index, (name, rgb) in enumerate(COLOURS.items()):
        members[f"{index}.png"] = image_bytes(rgb, index)
        members[f"{index}.txt"] = f"all {name}{LONG * (index % 2)}\nso {name}".encode()
    write_split(folder / "test", [members])
    (folder / "dataset_type.txt").write_text("retrieval")
    return folder


def test_retrieval_tells_the_share_of_captions_that_are_cut(tmp_path):
    folder = write_long_retrieval(tmp_path / "set")
    sets = [NamedSet("one", "retrieval", lambda: open_set(folder))]
    evaluations, _ = evaluate_encoders({"base": ColourBackbone}, sets, quick_options())
    record, *_ = result_records(evaluations, "m", "en")
    assert record["metrics"]["captions_cut"] == pytest.approx(3 / 12)
    (of_set,) = set_records(sets, evaluations)
    longest = len(f"all yellow{LONG}")
    assert of_set["notes"] == [
        "3 of 12 captions (25.0 %) have more than the 60 tokens that a text tower reads, up to"
        f" {longest}: their ends are cut"
    ]


def test_caption_selection_tells_it_too(tmp_path):
    folder = write_groups(tmp_path / "set")
    path = folder / "groups.jsonl"
    path.write_text(path.read_text().replace("all is red", f"all is red{LONG}"))
    (result, *_) = evaluate_encoder(ColourBackbone(), [open_set(folder)], quick_options())
    assert result.extra["captions_cut"] == pytest.approx(1 / 6)
    assert "1 of 6 captions (16.7 %)" in result.notes[0]


def test_statements_and_prompts_are_told_of_where_they_are_cut(tmp_path):
    mmvp = write_mmvp(tmp_path / "mmvp")
    questions = mmvp / "Questions.csv"
    questions.write_text(questions.read_text().replace("and nothing else", f"and{LONG}", 1))
    classes = write_classification(tmp_path / "classes")
    (classes / "zeroshot_classification_templates.txt").write_text(f"a {{c}}{LONG}\n{{c}}\n")
    results = evaluate_encoder(
        ColourBackbone(), [open_set(mmvp), open_set(classes)], quick_options()
    )
    notes = {result.benchmark: result.notes for result in results if result.notes}
    assert notes["mmvp_vlm"][0].startswith("1 of 8 statements (12.5 %)")
    assert notes["zero_shot"][0].startswith("6 of 12 prompts (50.0 %)")


def test_nothing_is_told_where_a_tower_reads_all(tmp_path):
    result, *_ = evaluate_encoder(
        ColourBackbone(), [open_set(write_groups(tmp_path / "set"))], quick_options()
    )
    assert (result.notes, result.extra["captions_cut"]) == ([], 0)


def test_a_real_tokenizer_counts_start_and_end(tmp_path):
    backbone = load_backbone(f"local-dir:{tiny_open_clip(tmp_path / 'clip')}")
    context = backbone.tokenize([""]).shape[1]
    fits, too_long = " ".join(["a"] * (context - 2)), " ".join(["a"] * (context - 1))
    cut = count_cut(backbone, [fits, too_long], "captions")
    assert cut == CutTexts("captions", [context, context + 1], context)
    assert cut.share == 0.5
