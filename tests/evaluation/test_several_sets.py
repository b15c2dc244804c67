"""Several sets of a kind, and sets that are broken."""

import re

import numpy as np
import pytest
import torch

from benchmark_folders import (
    ColourBackbone,
    image_bytes,
    write_classification,
    write_mmvp,
    write_retrieval,
    write_split,
)
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import NamedSet, describe_failures, evaluate_encoders
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure
from dcr.evaluation.tables import result_records, scores_table
from dcr.metrics.bootstrap import Bootstrap
from evaluation_options import quick_options

WRITERS = {
    "mmvp_vlm": write_mmvp,
    "classification": write_classification,
    "retrieval": write_retrieval,
}


def named_sets(folder, names):
    """Write sets, name to kind, and return them."""
    for name, kind in names.items():
        WRITERS[kind](folder / name)
    return [
        NamedSet(name, kind, lambda name=name: open_set(folder / name, name))
        for name, kind in names.items()
    ]


class Blurred(ColourBackbone):
    """Gives noise beside the colour, the same for the same image."""

    def encode_image(self, pixels):
        return super().encode_image(pixels) + 2 * torch.sin(1e5 * pixels.flatten(1)[:, :3])


def evaluate(sets, **encoders):
    return evaluate_encoders(encoders or {"base": ColourBackbone}, sets, quick_options())


def test_one_set_of_a_kind_gives_its_name_to_no_score(tmp_path):
    evaluations, _ = evaluate(named_sets(tmp_path, {"colours": "classification"}))
    assert list(scores_table(evaluations)["base"]) == [
        "clustering",
        "zero_shot",
        "linear_probe",
        "probes",
    ]


def test_several_sets_of_a_kind_have_their_own_scores_and_a_mean(tmp_path):
    sets = named_sets(
        tmp_path, {"one": "classification", "two": "classification", "mmvp_vlm": "mmvp_vlm"}
    )
    (tmp_path / "two" / "test" / "1.tar").unlink()
    (tmp_path / "two" / "test" / "nshards.txt").write_text("1")
    wrong = lambda: ColourBackbone(image_scale=-1.0)  # noqa: E731
    evaluations, failures = evaluate(sets, base=ColourBackbone, dcr=wrong)
    scores = scores_table(evaluations)["dcr"]
    assert failures == []
    assert list(scores)[:4] == ["clustering", "zero_shot", "linear_probe", "probes"]
    assert {"clustering/one", "clustering/two", "mmvp_vlm"} <= set(scores)
    mean = (scores["zero_shot/one"]["acc1"] + scores["zero_shot/two"]["acc1"]) / 2
    assert scores["zero_shot"]["acc1"] == pytest.approx(mean)
    records = result_records(evaluations, "ViT", "en")
    assert {record["dataset"] for record in records} == {"one", "two", "mmvp_vlm"}
    compared = {c.key: c for c in Judge(measure(evaluations), 0.95, ()).compare("base", "dcr")}
    assert compared["zero_shot.acc1"].difference.value == pytest.approx(mean - 1)


def test_the_mean_of_sets_varies_as_the_mean_of_independent_sets(tmp_path):
    """Also of two sets alike, whose items are drawn equally often in each of their own
    resamples.
    """
    sets = named_sets(tmp_path, {"one": "classification", "two": "classification"})
    options = quick_options(bootstrap=Bootstrap(2000, 0.95, 0))
    blurred = lambda: Blurred()  # noqa: E731
    results = {
        r.benchmark: r for r in evaluate_encoders({"base": blurred}, sets, options)[0]["base"]
    }
    one, two, mean = (
        results[name].replicates["acc1"] for name in ("zero_shot/one", "zero_shot/two", "zero_shot")
    )
    np.testing.assert_array_equal(one, two)
    assert mean.std() == pytest.approx(one.std() / 2**0.5, rel=0.08)
    low, high = results["zero_shot"].intervals["acc1"]
    assert low < results["zero_shot"].scores["acc1"] < high
    again = evaluate_encoders({"base": blurred}, sets, options)[0]["base"]
    np.testing.assert_array_equal(
        next(r for r in again if r.benchmark == "zero_shot").replicates["acc1"], mean
    )


def spoil_image(folder):
    """One image of MMVP-VLM is missing."""
    (folder / "mmvp_vlm" / "MLLM_VLM Images" / "Texts" / "7.jpg").unlink()
    return "mmvp_vlm", r"the image of question 7 is missing: .*Texts/7\.jpg does not exist"


def spoil_csv(folder):
    """One row of MMVP-VLM is missing."""
    path = folder / "mmvp_vlm" / "Questions.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    return "mmvp_vlm", r"Questions\.csv has 7 questions, but they come in pairs"


def spoil_label(folder):
    """A class index lies outside of the class names."""
    write_split(folder / "colours" / "test", [{"a.png": image_bytes((1, 2, 3)), "a.cls": b"6"}])
    return "colours", r"the class index of sample 'a' .* must lie in 0 to 5 .*, got '6'"


def spoil_tar(folder):
    """A tar holds nothing."""
    write_split(folder / "captions" / "test", [{}])
    return "captions", r"captions/test/0\.tar is empty"


def spoil_folder(folder):
    """A set is not there."""
    (folder / "captions").rename(folder / "elsewhere")
    return "captions", "no benchmark set at .*captions: the folder does not exist"


@pytest.mark.parametrize("spoil", [spoil_image, spoil_csv, spoil_label, spoil_tar, spoil_folder])
def test_a_broken_set_is_told_in_one_sentence_and_the_others_are_evaluated(tmp_path, spoil):
    sets = named_sets(
        tmp_path, {"mmvp_vlm": "mmvp_vlm", "colours": "classification", "captions": "retrieval"}
    )
    broken, message = spoil(tmp_path)
    evaluations, failures = evaluate(
        sets, base=ColourBackbone, dcr=lambda: ColourBackbone(image_scale=0.5)
    )
    told = describe_failures(failures)
    assert told.startswith(f"not evaluated: {broken}: ")
    assert told.count("; ") == 0
    assert re.search(message, told)
    assert "\n" not in told
    for results in evaluations.values():
        assert {result.dataset for result in results} == {"mmvp_vlm", "colours", "captions"} - {
            broken
        }


def test_there_is_no_mean_over_sets_of_which_one_is_broken(tmp_path):
    sets = named_sets(tmp_path, {"one": "classification", "two": "classification"})
    write_split(tmp_path / "two" / "test", [{}])
    evaluations, failures = evaluate(sets)
    assert [(failure.set, failure.encoder) for failure in failures] == [("two", "base")]
    assert set(scores_table(evaluations)["base"]) == {
        "clustering/one", "zero_shot/one", "linear_probe/one", "probes/one"
    }  # fmt: skip


def test_an_encoder_that_gives_nan_does_not_stop_the_others(tmp_path):
    sets = named_sets(tmp_path, {"mmvp_vlm": "mmvp_vlm"})
    broken = lambda: ColourBackbone(image_scale=float("nan"))  # noqa: E731
    evaluations, failures = evaluate(sets, base=ColourBackbone, dcr=broken)
    assert [len(results) for results in evaluations.values()] == [1, 0]
    assert "NaN or infinity for mmvp_vlm images" in failures[0].error


def test_an_encoder_that_cannot_be_loaded_does_not_stop_the_others(tmp_path):
    def refuse():
        raise UserError("no weights at /nowhere")

    sets = named_sets(tmp_path, {"mmvp_vlm": "mmvp_vlm"})
    evaluations, failures = evaluate(sets, base=ColourBackbone, other=refuse, dcr=ColourBackbone)
    assert list(evaluations) == ["base", "dcr"]
    assert describe_failures(failures).startswith(
        "not evaluated: encoder other: no weights at /nowhere ("
    )
