"""Pipeline `evaluation` on its own catalog and parameters, with encoders held in memory."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from benchmark_folders import ColourBackbone, write_classification, write_mmvp, write_retrieval
from dcr.errors import UserError
from dcr.parameters import EvaluationParameters
from dcr.pipelines.evaluation import create_pipeline

CONF = Path(__file__).parents[2] / "conf"


def parameters(**changes):
    base, smoke = (
        yaml.safe_load((CONF / env / "parameters_evaluation.yml").read_text())["evaluation"]
        for env in ("base", "smoke")
    )
    return EvaluationParameters(**{**base, **smoke, **changes})


def catalog_of(folder: Path, **changes) -> DataCatalog:
    text = (CONF / "base" / "catalog_evaluation.yml").read_text().replace("${globals:recipe}", "r")
    for name in ("mmvp_vlm", "classification", "retrieval"):
        text = text.replace(f"${{globals:{name}}}", f"sets/{name}")
    config = yaml.safe_load(text.replace("data/", f"{folder}/data/").replace("sets/", f"{folder}/sets/"))
    catalog = DataCatalog.from_config(config)
    memory = {
        "params:evaluation": parameters(**changes),
        "params:training.method": "dcr",
        "backbone": ColourBackbone(image_scale=0.5),
        "encoder": ColourBackbone(),
        "baselines": {"naive": lambda: ColourBackbone(image_scale=0.9)},
    }
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
    scores, intervals = (json.loads((report / f"{name}.json").read_text()) for name in ("scores", "intervals"))
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
    assert list(json.loads((report / "comparisons.json").read_text())) == ["dcr", "naive"]


def test_items_and_questions_are_kept(folder):
    output = folder / "data" / "07_model_output" / "r"
    assert set(pd.read_parquet(output / "outcomes.parquet").encoder) == {"base", "dcr", "naive"}
    assert sorted(path.name for path in (output / "mmvp").iterdir()) == [
        "mmvp_base.csv", "mmvp_dcr.csv", "mmvp_naive.csv"
    ]  # fmt: skip
    header = (output / "mmvp" / "mmvp_dcr.csv").read_text().splitlines()[0]
    assert header == "qid1,qid2,pred1,pred2,gt1,gt2,q1score,q2score"


def test_a_second_run_writes_the_same_bytes(folder):
    def contents():
        return {path: path.read_bytes() for path in (folder / "data").rglob("*") if path.is_file()}

    before = contents()
    run(catalog_of(folder))
    assert len(before) == 8
    assert contents() == before


def test_sets_that_a_recipe_leaves_out_need_no_folder(tmp_path):
    write_mmvp(tmp_path / "sets" / "mmvp_vlm")
    run(catalog_of(tmp_path, sets=["mmvp_vlm"]))
    scores = json.loads((tmp_path / "data" / "08_reporting" / "r" / "scores.json").read_text())
    assert list(scores["dcr"]) == ["mmvp_vlm"]


def test_a_missing_set_stops_the_run_and_names_the_command(tmp_path):
    with pytest.raises(UserError, match="mmvp_vlm does not exist; make it with `kedro run --pipelines scenes`"):
        run(catalog_of(tmp_path))
