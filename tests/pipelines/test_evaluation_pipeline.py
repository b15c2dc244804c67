"""Pipeline `evaluation` on its own catalog and parameters, with encoders held in memory."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

import belonging
from benchmark_folders import (
    COLOURS,
    ColourBackbone,
    WordsBackbone,
    image_bytes,
    write_classification,
    write_mmvp,
    write_retrieval,
)
from caption_sets import write_groups, write_sugar_crepe, write_winoground
from dcr.datasets.benchmark_sets import BenchmarkSetDataset, BenchmarkSetsDataset
from dcr.errors import UserError
from dcr.framework.advice import made_by
from dcr.parameters import EvaluationParameters, TrainingParameters
from dcr.parameters.section import merge
from dcr.pipelines.evaluation import create_embedding_pipeline, create_pipeline
from nested import nested

CONF = Path(__file__).parents[2] / "conf"


def parameters(**changes):
    base, demo, smoke = (
        yaml.safe_load((CONF / env / "parameters_evaluation.yml").read_text())["evaluation"]
        for env in ("base", "demo", "smoke")
    )
    return EvaluationParameters(**{**base, **demo, **smoke, **changes})


def training(**changes) -> TrainingParameters:
    sections = [
        yaml.safe_load((CONF / env / "parameters_training.yml").read_text())["training"]
        for env in ("base", "smoke")
    ]
    asked = {"tuning.mode": "full"} | changes
    return TrainingParameters(**merge(merge(*sections), nested(asked)))


def adapter(image_scale):
    """Return the trained weights that make a `ColourBackbone` of this scale."""
    return {"scale": torch.tensor(image_scale)}


def catalog_of(
    folder: Path, more_sets: list | None = None, seed: int = 0, pipelines=("scenes",), **changes
) -> DataCatalog:
    text = (CONF / "base" / "catalog_evaluation.yml").read_text().replace("${globals:recipe}", "r")
    for name in ("mmvp_vlm", "classification", "retrieval"):
        text = text.replace(f"${{globals:{name}}}", f"{folder}/sets/{name}")
    text = text.replace("${globals:more_sets}", json.dumps(more_sets or []))
    text = text.replace(
        "${made_by:scenes,${globals:pipelines}}", made_by("scenes", pipelines) or ""
    )
    text = text.replace("${globals:more_encoders}", "{}").replace("${globals:device}", "cpu")
    catalog = DataCatalog.from_config(yaml.safe_load(text.replace(": data/", f": {folder}/data/")))
    memory = {
        "params:evaluation": parameters(**changes),
        "params:training": training(seed=seed),
        "params:training.method": "dcr",
        "params:alignment": belonging.alignment(),
        "alignments": {},
        "alignment_record": {},
        "backbone": ColourBackbone(image_scale=0.5),
        "adapters": {"dcr": lambda: adapter(1.0), "naive": lambda: adapter(0.9)},
    }
    memory["training_record"] = belonging.training_record(
        memory["params:training"],
        memory["backbone"],
        {name: load() for name, load in memory["adapters"].items()},
    )
    for name, value in memory.items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    return catalog


def run(catalog: DataCatalog) -> None:
    SequentialRunner().run(create_pipeline(), catalog)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    write_mmvp(folder / "sets" / "mmvp_vlm")
    write_classification(folder / "sets" / "classification")
    write_retrieval(folder / "sets" / "retrieval")
    run(catalog_of(folder))
    return folder


def test_every_encoder_gets_every_score_and_an_interval(folder):
    report = folder / "data" / "08_reporting" / "r"
    scores, intervals = (
        json.loads((report / f"{name}.json").read_text()) for name in ("scores", "intervals")
    )
    assert list(scores) == list(intervals) == ["base", "dcr", "naive"]
    benchmarks = [
        "mmvp_vlm",
        "clustering",
        "zero_shot",
        "linear_probe",
        "probes",
        "retrieval",
        "text_alignment",
    ]
    for encoder, results in scores.items():
        assert list(results) == benchmarks
        for benchmark, metrics in results.items():
            assert list(metrics) == list(intervals[encoder][benchmark])
    assert scores["dcr"]["mmvp_vlm"]["mean"] == 1.0
    comparisons = json.loads((report / "comparisons.json").read_text())
    assert list(comparisons) == ["dcr", "naive"]
    for metric, comparison in comparisons["dcr"]["clustering"].items():
        assert comparison["verdict"] == "one seed"
        difference = scores["dcr"]["clustering"][metric] - scores["base"]["clustering"][metric]
        assert comparison["difference"]["value"] == pytest.approx(difference, abs=1e-12)


def test_items_and_questions_are_kept(folder):
    output = folder / "data" / "07_model_output" / "r"
    assert set(pd.read_parquet(output / "outcomes.parquet").encoder) == {"base", "dcr", "naive"}
    assert sorted(path.name for path in (output / "mmvp").glob("*.csv")) == [
        "mmvp_base.csv", "mmvp_dcr.csv", "mmvp_naive.csv"
    ]  # fmt: skip
    header = (output / "mmvp" / "mmvp_dcr.csv").read_text().splitlines()[0]
    assert header == "qid1,qid2,pred1,pred2,gt1,gt2,q1score,q2score"


def test_a_second_run_writes_the_same_bytes(folder):
    def contents():
        return {path: path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()}

    before = contents()
    run(catalog_of(folder))
    assert {path.name for path in before if path.parent.name == "r"} == {
        "scores.json",
        "intervals.json",
        "comparisons.json",
        "this_seed.json",
        "evaluation_failures.json",
        "evaluation_sets.json",
        "eval_results.jsonl",
        "outcomes.parquet",
        "measurements.parquet",
    }
    assert contents() == before


def test_sets_that_a_recipe_leaves_out_need_no_folder(tmp_path):
    write_mmvp(tmp_path / "sets" / "mmvp_vlm")
    run(catalog_of(tmp_path, sets=["mmvp_vlm"]))
    scores = json.loads((tmp_path / "data" / "08_reporting" / "r" / "scores.json").read_text())
    assert list(scores["dcr"]) == ["mmvp_vlm"]


@pytest.mark.parametrize("unnamed", [False, True])
def test_without_any_set_nothing_is_scored_and_that_is_told(tmp_path, caplog, unnamed):
    """Neither `sets: []` nor a recipe that names no set is an error: training and export need
    none.
    """
    catalog = catalog_of(tmp_path, sets=["mmvp_vlm", "more_sets"] if unnamed else [])
    if unnamed:
        catalog["mmvp_vlm"] = BenchmarkSetDataset(filepath=None, kind="mmvp_vlm", made_by="")
    run(catalog)
    assert read(tmp_path, "scores") == {"base": {}, "dcr": {}, "naive": {}}
    assert read(tmp_path, "comparisons") == {}
    assert read(tmp_path, "evaluation_failures") == []
    assert (
        len(pd.read_parquet(tmp_path / "data" / "07_model_output" / "r" / "outcomes.parquet")) == 0
    )
    assert "no evaluation set" in caplog.text


def read(folder: Path, name: str):
    return json.loads((folder / "data" / "08_reporting" / "r" / f"{name}.json").read_text())


def test_a_broken_set_ends_the_run_with_an_error_after_all_others_are_written(tmp_path):
    """What is left of the sets is evaluated, saved and compared; the sentence names what is
    broken.
    """
    for write, name in ((write_mmvp, "mmvp_vlm"), (write_classification, "classification")):
        write(tmp_path / "sets" / name)
    (tmp_path / "sets" / "mmvp_vlm" / "MLLM_VLM Images" / "Texts" / "7.jpg").unlink()
    with pytest.raises(
        UserError,
        match=r"^not evaluated: mmvp_vlm: the image of question 7 is missing.*; retrieval: ",
    ) as e:
        run(catalog_of(tmp_path))
    assert "retrieval does not exist; make it with `kedro run --pipelines scenes`" in str(e.value)
    assert list(read(tmp_path, "scores")["dcr"]) == [
        "clustering",
        "zero_shot",
        "linear_probe",
        "probes",
    ]
    assert [failure["set"] for failure in read(tmp_path, "evaluation_failures")] == [
        "mmvp_vlm",
        "retrieval",
    ]
    assert set(read(tmp_path, "comparisons")["naive"]) == {
        "clustering",
        "zero_shot",
        "linear_probe",
        "probes",
    }
    assert (tmp_path / "data" / "08_reporting" / "r" / "eval_results.jsonl").stat().st_size > 0


def test_what_was_left_out_of_a_set_stands_in_the_record(tmp_path):
    for name in list(COLOURS)[:2]:
        (tmp_path / "colours" / name).mkdir(parents=True)
        for index in range(2):
            (tmp_path / "colours" / name / f"{index}.png").write_bytes(
                image_bytes(COLOURS[name], index)
            )
    (tmp_path / "colours" / ".git").mkdir()
    (tmp_path / "colours" / "classnames.txt").write_text("green\nred\nblue\n")
    (tmp_path / "colours" / "blue").mkdir()
    entry = {"name": "colours", "kind": "classification", "path": str(tmp_path / "colours")}
    run(catalog_of(tmp_path, more_sets=[entry], sets=["more_sets"]))
    (record,) = read(tmp_path, "evaluation_sets")
    assert record | {"notes": []} == {
        "name": "colours",
        "kind": "classification",
        "folder": str(tmp_path / "colours"),
        "dataset": "colours",
        "benchmarks": ["clustering", "zero_shot"],
        "notes": [],
        "overrides": {},
        "published_rules": [],
        "rules": {},
    }
    assert record["notes"] == [
        "left out: hidden folders: 1 (.git)",
        "no test image of 1 of 3 classes: blue",
        "no train split, so no probes",
    ]


def test_a_recipe_on_own_data_is_not_told_to_render_the_demos(tmp_path):
    write_mmvp(tmp_path / "sets" / "mmvp_vlm")
    with pytest.raises(UserError) as told:
        run(
            catalog_of(
                tmp_path, sets=["mmvp_vlm", "retrieval"], pipelines=("validation", "evaluation")
            )
        )
    assert "scenes" not in str(told.value)
    assert (
        "put it there, or name another in the recipe's globals.yml, or leave it out of `sets`"
        in str(told.value)
    )


def test_several_sets_come_from_one_list(tmp_path):
    for name in ("one", "two"):
        write_classification(tmp_path / name)
    entries = [
        {"name": name, "kind": "classification", "path": str(tmp_path / name)}
        for name in ("one", "two")
    ]
    run(catalog_of(tmp_path, more_sets=entries, sets=["more_sets"]))
    scores = read(tmp_path, "scores")["dcr"]
    assert {"clustering", "clustering/one", "clustering/two"} <= set(scores)
    assert scores["clustering"]["acc"] == pytest.approx(1)


def test_tasks_of_mteb_come_from_the_same_list(tmp_path):
    pytest.importorskip("mteb", reason="install the extra `mieb`")
    from mieb_tasks import write_zero_shot

    path = str(write_zero_shot(tmp_path / "data_of_tasks"))
    entry = {"name": "colours", "kind": "mieb", "path": path}
    run(catalog_of(tmp_path, more_sets=[entry], sets=["more_sets"]))
    scores = read(tmp_path, "scores")
    assert scores["dcr"]["mieb"] == {"accuracy": 1.0}
    assert read(tmp_path, "intervals")["dcr"]["mieb"] == {"accuracy": [1.0, 1.0]}
    difference = read(tmp_path, "comparisons")["dcr"]["mieb"]["accuracy"]["difference"]
    assert difference["value"] == pytest.approx(1 - scores["base"]["mieb"]["accuracy"])
    assert difference["low"] < difference["value"] < difference["high"]
    (record,) = read(tmp_path, "evaluation_sets")
    assert (record["kind"], record["benchmarks"]) == ("mieb", ["mieb"])


def test_sets_of_caption_selection_come_from_the_same_list(tmp_path):
    folders = {
        "winoground": write_winoground(tmp_path / "winoground"),
        "sugar_crepe": write_sugar_crepe(tmp_path / "sugar_crepe"),
        "broken": write_groups(tmp_path / "broken"),
    }
    (folders["broken"] / "groups.jsonl").write_text("{}\n")
    entries = [
        {"name": name, "kind": "caption_selection", "path": str(folder)}
        for name, folder in folders.items()
    ]
    with pytest.raises(UserError, match=r"not evaluated: broken: .*groups.jsonl, line 1: expected"):
        run(catalog_of(tmp_path, more_sets=entries, sets=["more_sets"]))
    scores = read(tmp_path, "scores")["dcr"]
    assert scores["caption_selection/sugar_crepe"] == {"text_score": 1.0}
    assert scores["caption_selection/winoground"]["group_match"] == 1.0
    rules = {record["name"]: record["rules"] for record in read(tmp_path, "evaluation_sets")}
    assert rules["sugar_crepe"]["caption_selection/sugar_crepe"] == {
        "text_score": {"rule": "text_score", "chance": 0.5}
    }
    results = tmp_path / "data" / "08_reporting" / "r" / "eval_results.jsonl"
    records = [json.loads(line) for line in results.read_text().splitlines()]
    (record,) = [
        record
        for record in records
        if (record["dataset"], record["pretrained"]) == ("winoground", "dcr")
        and "image_acc" in record["metrics"]
    ]
    assert record["task"] == "image_caption_selection"
    assert record["metrics"]["chance_group_score"] == pytest.approx(1 / 6)
    assert record["metrics"]["acc"] == record["metrics"]["group_score"] == 1


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "a"}, "needs exactly the keys name, kind, path"),
        ({"name": "a", "kind": "detection", "path": "p"}, "kind of 'a' must be one of mmvp_vlm, "),
        (
            {"name": "a.b", "kind": "retrieval", "path": "p"},
            "letters, digits, _ and - alone, got 'a.b'",
        ),
    ],
)
def test_a_wrong_entry_of_the_list_is_named(entry, message):
    with pytest.raises(UserError, match=message):
        BenchmarkSetsDataset(sets=[entry])
    with pytest.raises(UserError, match="are called 'a'"):
        BenchmarkSetsDataset(sets=[{"name": "a", "kind": "retrieval", "path": "p"}] * 2)


def test_a_set_may_not_take_the_name_of_a_recipes_own(tmp_path):
    entry = {"name": "retrieval", "kind": "retrieval", "path": "p"}
    with pytest.raises(UserError, match="'retrieval' is taken by the recipe's own set"):
        run(catalog_of(tmp_path, more_sets=[entry]))


def test_features_are_compared_with_the_bases_if_asked(folder, tmp_path):
    assert not {"feature_geometry", "feature_drift"} & set(read(folder, "scores")["dcr"])
    shutil.copytree(folder / "sets", tmp_path / "sets")
    run(catalog_of(tmp_path, compare_features=True))
    scores, intervals = (read(tmp_path, name) for name in ("scores", "intervals"))
    assert list(scores["dcr"]["feature_drift"]) == ["cka", "neighbour_overlap@10"]
    assert 0.9 < scores["dcr"]["feature_drift"]["cka"] <= 1
    assert (
        scores["dcr"]["feature_geometry"]["inner_class"]
        > scores["dcr"]["feature_geometry"]["inter_class"]
    )
    assert not {"feature_drift", "retrieval_drift", "mmvp_drift"} & set(scores["base"])
    assert {"retrieval_drift", "mmvp_drift", "mmvp_alignment"} <= set(scores["dcr"])
    assert (
        scores["base"]["text_alignment"]["alignment"] > scores["dcr"]["text_alignment"]["alignment"]
    )
    low, high = intervals["dcr"]["feature_drift"]["cka"]
    assert low <= scores["dcr"]["feature_drift"]["cka"] <= high


def test_each_training_seed_keeps_its_scores(tmp_path):
    write_mmvp(tmp_path / "sets" / "mmvp_vlm")
    for seed in (0, 3):
        run(catalog_of(tmp_path, sets=["mmvp_vlm"], seed=seed))
    kept = [read(tmp_path, f"seeds/seed_{seed}") for seed in (0, 3)]
    assert [record["seed"] for record in kept] == [0, 3]
    assert kept[0]["configuration"] == kept[1]["configuration"]
    assert kept[1] == read(tmp_path, "this_seed")


def test_divas_file_is_written_if_asked(folder, tmp_path):
    assert not list((folder / "data").rglob("pred_result.json"))
    shutil.copytree(folder / "sets", tmp_path / "sets")
    run(catalog_of(tmp_path, diva_results=True))
    result = json.loads(
        (tmp_path / "data" / "07_model_output" / "r" / "diva" / "pred_result.json").read_text()
    )
    assert list(result) == ["results_before", "results_final_after"]
    assert result["results_final_after"] == {
        "smoke-ViT": {"Color and Appearance": 100.0, "Texts": 100.0, "average_score": 100.0}
    }


def test_the_embedding_pipeline_leaves_evaluation_nothing_to_embed(folder, tmp_path):
    shutil.copytree(folder / "sets", tmp_path / "sets")
    for rank in (0, 1):
        SequentialRunner().run(
            create_embedding_pipeline(), catalog_of(tmp_path, num_ranks=2, rank=rank)
        )
    catalog = catalog_of(tmp_path)
    run(catalog)
    assert sum(catalog["backbone"].load().batch_sizes) == 0
    with pytest.raises(UserError, match="rank must lie in 0 to num_ranks - 1 = 1, got 2"):
        SequentialRunner().run(
            create_embedding_pipeline(), catalog_of(tmp_path, num_ranks=2, rank=2)
        )


TURN = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def aligned_catalog(folder, **changes):
    """A catalog whose encoders were aligned by their text sides: the base by nothing, the
    others by a turn.
    """
    catalog = catalog_of(folder, sets=["mmvp_vlm", "retrieval"])
    base = WordsBackbone(0.5)
    turns = {"base": torch.eye(3), "dcr": TURN, "naive": TURN}
    maps = {name: {"text_map": turn} for name, turn in turns.items()}
    parameters = belonging.alignment("text")
    adapters = {"dcr": adapter(1.0), "naive": adapter(0.9)}
    trained = belonging.training_record(training(), base, adapters)
    memory = {
        "backbone": base,
        "training_record": trained,
        "params:alignment": parameters,
        "alignments": {name: lambda name=name: maps[name] for name in maps},
        "alignment_record": belonging.alignment_record(parameters, trained, maps),
    }
    for name, value in (memory | changes).items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    return catalog


def test_aligned_encoders_stand_beside_those_as_trained_and_cost_no_image(tmp_path, monkeypatch):
    for write, name in ((write_mmvp, "mmvp_vlm"), (write_retrieval, "retrieval")):
        write(tmp_path / "sets" / name)
    seen, encode_image = [], ColourBackbone.encode_image
    monkeypatch.setattr(
        ColourBackbone,
        "encode_image",
        lambda self, pixels: seen.append(len(pixels)) or encode_image(self, pixels),
    )
    catalog = aligned_catalog(tmp_path)
    run(catalog)
    scores = read(tmp_path, "scores")
    assert list(scores) == [
        "base",
        "base_aligned",
        "dcr",
        "dcr_unaligned",
        "naive",
        "naive_unaligned",
    ]
    assert sum(seen) == 3 * (8 + 6)  # one embedding of each image by each of the three image towers
    assert scores["dcr_unaligned"]["mmvp_vlm"]["mean"] == 1.0 > scores["dcr"]["mmvp_vlm"]["mean"]
    assert scores["base"] == scores["base_aligned"]
    hashes = read(tmp_path, "this_seed")["encoders"]
    assert hashes.keys() == scores.keys()
    assert len(set(hashes.values())) == len(hashes)
    made_from = catalog["alignment_record"].load()["made_from"]
    assert (hashes["base"], hashes["dcr_unaligned"]) == (made_from["base"], made_from["dcr"])
    assert torch.equal(catalog["backbone"].load().words, torch.eye(3))  # the base stays as it is


def test_seeds_with_another_alignment_are_not_told_together(tmp_path):
    write_mmvp(tmp_path / "sets" / "mmvp_vlm")
    run(catalog_of(tmp_path, sets=["mmvp_vlm"]))
    before = read(tmp_path, "this_seed")["configuration"]
    write_retrieval(tmp_path / "sets" / "retrieval")
    run(aligned_catalog(tmp_path))
    assert read(tmp_path, "this_seed")["configuration"] != before


MISFITS = {
    "no record": (
        {"alignment_record": {}},
        r"there is no record of an alignment, but alignment\.form is text",
    ),
    "another form": (
        {"params:alignment": belonging.alignment("image")},
        r"alignment\.form 'text', the recipe says 'im",
    ),
    "other steps": (
        {"params:alignment": belonging.alignment("text", steps=7)},
        r"steps 1500, the recipe says 7",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_an_alignment_that_the_recipe_does_not_ask_for_is_refused(tmp_path, case):
    changes, sentence = MISFITS[case]
    with pytest.raises(UserError, match=sentence) as told:
        SequentialRunner().run(
            create_pipeline().only_nodes("gather_encoders"), aligned_catalog(tmp_path, **changes)
        )
    assert "`kedro run --pipelines alignment,evaluation`" in str(told.value)


def test_an_alignment_of_another_training_is_refused(tmp_path):
    catalog = aligned_catalog(tmp_path)
    record = catalog["alignment_record"].load()
    record["made_from"]["naive"] = "of another one"
    with pytest.raises(UserError, match=r"does not tell of the encoder naive that training made"):
        SequentialRunner().run(create_pipeline().only_nodes("gather_encoders"), catalog)


def test_a_map_from_elsewhere_is_named_and_the_others_are_scored(tmp_path):
    write_mmvp(tmp_path / "sets" / "mmvp_vlm")
    write_retrieval(tmp_path / "sets" / "retrieval")
    catalog = aligned_catalog(tmp_path)
    catalog["alignments"].load()["naive"] = lambda: {"text_map": 2 * TURN}
    with pytest.raises(
        UserError, match=r"encoder naive: the alignment of naive is not the one that alignment.json"
    ):
        run(catalog)
    assert list(read(tmp_path, "scores")) == [
        "base",
        "base_aligned",
        "dcr",
        "dcr_unaligned",
        "naive_unaligned",
    ]


def refused(folder, **changes):
    """Return the sentence of the first node, which refuses encoders that do not belong to the
    training's record.
    """
    catalog = catalog_of(folder)
    for name, value in changes.items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    with pytest.raises(UserError) as caught:
        SequentialRunner().run(create_pipeline().only_nodes("gather_encoders"), catalog)
    return str(caught.value)


OTHERS = {
    "parameters that were never used": (
        {"params:training": training(**{"stage2.learning_rate": 0.7})},
        r"stage2.learning_rate 0.001, the recipe says 0.7",
    ),
    "another seed": ({"params:training": training(seed=9)}, r"training.seed 0, the recipe says 9"),
    "another backbone": (
        {"backbone": ColourBackbone(image_scale=0.1)},
        r"training started from other weights",
    ),
    "weights that are gone": (
        {"adapters": {"dcr": lambda: adapter(1.0)}},
        r"the trained weights of naive, of which training\.json tells, are not there",
    ),
    "a record of an earlier version": (
        {"training_record": {"seed": 0, "hashes": {}}},
        r"earlier version",
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_encoders_of_another_training_are_refused_before_anything_is_evaluated(tmp_path, case):
    changes, sentence = OTHERS[case]
    told = refused(tmp_path, **changes)
    assert re.search(sentence, told), told
    assert re.search(r"`kedro run --pipelines training(,alignment,evaluation)?`", told)


@pytest.mark.parametrize("stale", ["dcr", "naive"])
def test_weights_of_another_training_are_named_and_the_other_encoders_are_scored(tmp_path, stale):
    write_mmvp(tmp_path / "sets" / "mmvp_vlm")
    catalog = catalog_of(tmp_path, sets=["mmvp_vlm"])
    catalog["adapters"].load()[stale] = lambda: adapter(0.3)
    catalog["adapters"].load()["left from before"] = lambda: adapter(0.3)
    with pytest.raises(
        UserError, match=rf"encoder {stale}: the trained weights of {stale} are not"
    ):
        run(catalog)
    scored = [name for name in ("base", "dcr", "naive") if name != stale]
    assert list(read(tmp_path, "scores")) == scored


def test_the_record_of_an_evaluation_is_written_after_its_tables():
    """So that a kill leaves tables that do not fit the record that stands from before."""
    pipeline = create_pipeline()
    before = {node.name for node in pipeline.to_nodes("record_seed").nodes}
    assert before >= {
        "record_results",
        "tabulate_outcomes",
        "tabulate_measurements",
        "compare_encoders",
    }


def test_tables_of_two_evaluations_do_not_fit_one_record(tmp_path):
    from dcr.evaluation.provenance import table_hashes

    def hashes():
        tables = {name: read(tmp_path, name) for name in ("scores", "intervals", "comparisons")}
        output = tmp_path / "data" / "07_model_output" / "r"
        frames = {
            name: pd.read_parquet(output / f"{name}.parquet")
            for name in ("outcomes", "measurements")
        }
        return table_hashes(**tables, **frames)

    write_mmvp(tmp_path / "sets" / "mmvp_vlm")
    run(catalog_of(tmp_path, sets=["mmvp_vlm"]))
    first = read(tmp_path, "this_seed")
    assert first["tables"] == hashes()  # as they are read back from disk
    catalog = catalog_of(tmp_path, sets=["mmvp_vlm"], confidence=0.5)
    wrong = adapter(-1.0)
    trained = belonging.training_record(training(), ColourBackbone(0.5), {"dcr": wrong})
    catalog["adapters"] = MemoryDataset({"dcr": lambda: wrong}, copy_mode="assign")
    catalog["training_record"] = MemoryDataset(trained)
    run(catalog)
    assert {name for name in first["tables"] if first["tables"][name] == hashes()[name]} == set()
