"""What belongs together is told by hashes and parameters; the pipelines' own tests join whole
sets of files.
"""

import numpy as np
import pandas as pd
import pytest

import belonging
from dcr.errors import UserError
from dcr.evaluation import provenance as scored
from dcr.evaluation.exchange import seed_record, select_runs
from dcr.parameters import Section
from dcr.parameters.training import WITHOUT_EFFECT
from dcr.training import provenance
from training_world import parameters

# Where each section's parameters are tested one by one; what others say is made anew whenever it is
# asked for.
TABLES = {
    "TrainingParameters": "tests/training/test_fingerprint.py",
    "LatentsParameters": "tests/latents/test_keys.py",
    "SynthesisParameters": "tests/latents/test_keys.py",
    "EvaluationParameters": "tests/evaluation/test_result_keys.py",
    "AlignmentParameters": "tests/alignment/test_record.py",
}
MADE_ANEW = {
    "ExportParameters",
    "LedgerParameters",
    "PlanParameters",
    "ReportingParameters",
    "RecipeParameters",
    "SelectionParameters",
    "SweepParameters",
    "VerifyParameters",
}
OF_OTHERS = {  # validation and the demo's models keep their own records
    "IngestParameters",
    "LikenessParameters",
    "ValidationParameters",
    "ScenesParameters",
    "PretrainingParameters",
    "ModelsParameters",
    "RemoteParameters",
}
RECORD = {
    "hashes": {
        "samples": "s",
        "positives": "p",
        "backbone": "b",
        "vae": "v",
        "unet": "u",
        "text_encoder": "t",
    },
}


def test_every_section_of_parameters_is_accounted_for():
    assert {cls.__name__ for cls in Section.__subclasses__()} == set(TABLES) | MADE_ANEW | OF_OTHERS


def test_a_training_is_told_by_all_that_its_result_depends_on():
    course = parameters().course()
    told = {name.split(".")[0] for name in course}
    assert told == set(type(parameters()).model_fields) - set(WITHOUT_EFFECT)
    assert not [name for name in course if name.startswith(WITHOUT_EFFECT)]
    assert {"stage2.learning_rate", "tuning.lora.rank", "signal.name"} <= course.keys()


def test_a_parameter_that_differs_is_named_with_both_values():
    record = {"parameters": parameters(**{"loss.temperature": 0.2}).course()}
    with pytest.raises(
        UserError, match=r"training\.loss\.temperature 0\.2, the recipe says 0\.1; run `kedro run"
    ):
        provenance.check_training(record, parameters())
    provenance.check_training(
        record, parameters(**{"loss.temperature": 0.2, "execution.num_workers": 5})
    )


@pytest.mark.parametrize(
    ("hashes", "pictures"),
    [
        ({"samples": "s"}, {}),
        ({"samples": "s"}, {"made_from": {"samples": "s", "positives": "any"}}),
        (
            {"samples": "s", "positives": "p"},
            {"made_from": {"samples": "s", "positives": "p"}},
        ),
    ],
)
def test_pictures_of_positives_may_be_of_the_same_samples(hashes, pictures):
    provenance.check_synthesis({"hashes": hashes}, pictures)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"samples": "t", "positives": "p"},
        {"samples": "s", "positives": "q"},
        {"samples": "s"},
    ],
)
def test_pictures_of_other_positives_are_refused(told):
    with pytest.raises(UserError, match="positives of other samples"):
        provenance.check_synthesis(RECORD, {"rows": [], "made_from": told})


def test_no_measures_of_base_models_are_as_good_as_the_right_ones():
    provenance.check_base_models(RECORD, {})
    weights = {"backbone": "b", "vae": "v", "unet": "u", "text_encoder": "t"}
    provenance.check_base_models(RECORD, {"weights": weights})
    for part in weights:
        with pytest.raises(
            UserError, match="run `kedro run --pipelines scenes`, or remove that file"
        ):
            provenance.check_base_models(RECORD, {"weights": weights | {part: "another"}})


def test_tables_have_the_same_hash_after_a_way_through_parquet(tmp_path):
    outcomes = pd.DataFrame(
        {"encoder": ["base"] * 3, "item": ["é", "1", "2"], "correct": [0.1 + 0.2, 1 / 3, 1.0]}
    )
    outcomes["replicates"] = list(np.random.default_rng(0).random((3, 2000), dtype=np.float32))
    outcomes.to_parquet(tmp_path / "o.parquet")
    read = pd.read_parquet(tmp_path / "o.parquet")
    expected = scored.table_hashes(table=outcomes)
    assert scored.table_hashes(table=read) == expected
    assert scored.table_hashes(table=read[::-1]) != expected
    outcomes["replicates"][1][1000] += 1e-3  # in the middle, where str shows nothing
    assert scored.table_hashes(table=outcomes) != expected


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"loss.temperature": 9}},
        {"hashes": {"data": "other"}},
        {"hashes": {"data": "d", "code": "edited"}},
        {"form": "text"},
    ],
)
def test_seeds_are_compared_if_nothing_else_differs(change):
    record = {"seed": 0, "parameters": {"seed": 0, "loss.temperature": 1}, "hashes": {"data": "d"}}
    runs = [
        seed_record({"base": {}}, record, {"form": "none"}),
        seed_record(
            {"base": {}},
            record | {"seed": 1, "parameters": {"seed": 1, "loss.temperature": 1}},
            {"form": "none"},
        ),
        seed_record(
            {"base": {}}, record | {"seed": 2} | change, {"form": change.get("form", "none")}
        ),
    ]
    assert set(select_runs(runs, runs[0]["configuration"])) == {0, 1}


def test_records_of_the_tests_are_what_the_project_writes():
    trained = belonging.training_record(parameters(), type("B", (), {"model": _module()}), {})
    assert {"seed", "runs", "hashes", "parameters", "conditions", "products"} == set(trained)


def _module():
    import torch

    return torch.nn.Linear(1, 1)
