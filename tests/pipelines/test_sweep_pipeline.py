"""The sweep: its runs stay out of the recipe's own results, and its page compares those that
are finished.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

import belonging
from dcr.errors import UserError
from dcr.evaluation.measurements import measurements_table
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.losses.signals import SIGNALS
from dcr.parameters import EvaluationParameters, SweepParameters, TrainingParameters
from dcr.pipelines import evaluation, training
from dcr.pipelines.sweep import create_pipeline
from dcr.settings import CONFIG_LOADER_ARGS
from measured import constant

PROJECT = Path(__file__).parents[2]


def sweep_config(signal="infonce", seed=0):
    loader = RecipeConfigLoader(
        str(PROJECT / "conf"),
        env="sweep",
        runtime_params={"training": {"signal": {"name": signal}, "seed": seed}},
        **CONFIG_LOADER_ARGS,
    )
    return loader["catalog"], loader["parameters"]


def places(catalog, names):
    """Return where each dataset lies, of those that are not in memory alone."""
    return {
        name: catalog[name].get("filepath") or catalog[name]["path"]
        for name in names
        if name in catalog and catalog[name]["type"] != "MemoryDataset"
    }


def test_a_run_writes_into_folders_of_its_own():
    catalog, parameters = sweep_config(signal="dcl", seed=1)
    written = training.create_pipeline().outputs() | evaluation.create_pipeline().all_outputs()
    for name, place in places(catalog, written | training.create_pipeline().all_outputs()).items():
        assert "/demo/sweep/dcl-1/" in f"{place}/", name
    assert parameters["training"]["signal"]["name"] == "dcl"
    assert parameters["training"]["seed"] == 1


def test_runs_of_one_seed_share_stage_1():
    one, other, third = (
        places(sweep_config(signal=signal, seed=seed)[0], ["checkpoints"])["checkpoints"]
        for signal, seed in (("dcl", 1), ("hcl", 1), ("dcl", 2))
    )
    assert one == other
    assert one != third


def test_runs_read_what_the_recipe_left():
    catalog, _ = sweep_config(signal="dcl", seed=1)
    base = RecipeConfigLoader(str(PROJECT / "conf"), **CONFIG_LOADER_ARGS)["catalog"]
    for name in ("latents", "backbone", "diffusion", "mmvp_vlm", "classification"):
        assert catalog[name] == base[name]


def test_every_signal_is_in_the_sweep():
    _, parameters = sweep_config()
    assert sorted(parameters["sweep"]["signals"]) == list(SIGNALS)


@pytest.fixture
def finished(tmp_path):
    """Files of three finished runs, and of one that was stopped before it was evaluated."""
    training = sections("training")
    evaluation = EvaluationParameters(**sections("evaluation"))
    model = SimpleNamespace(model=torch.nn.Linear(1, 1))
    for name, value in (("infonce-0", 0.5), ("infonce-1", 0.52), ("dcl-0", 0.51), ("dcl-1", 0.5)):
        folder = tmp_path / "sweep" / name
        folder.mkdir(parents=True)
        signal, _, seed = name.rpartition("-")
        parameters = TrainingParameters(
            **training | {"signal": {"name": signal}, "seed": int(seed)}
        )
        runs = {"dcr": {"seconds": 12.0, "steps": 10}}
        trained = belonging.training_record(parameters, model, {"dcr": {}}, runs=runs)
        own = {"probes": {"mean": constant(value)}, "clustering": {"acc": constant(value / 2)}}
        table = measurements_table({"base": own, "dcr": own})
        scores = {
            name: {"probes": {"mean": value}, "clustering": {"acc": value / 2}}
            for name in ("base", "dcr")
        }
        written = {"training": trained}
        if name != "dcl-1":
            evaluated = belonging.this_seed(evaluation, trained, scores=scores, measurements=table)
            written |= {"scores": scores, "this_seed": evaluated}
            table.to_parquet(folder / "measurements.parquet")
        for file, content in written.items():
            (folder / f"{file}.json").write_text(json.dumps(content))
    return tmp_path


def sections(name):
    return yaml.safe_load((PROJECT / "conf" / "base" / f"parameters_{name}.yml").read_text())[name]


def compare(finished):
    """Return the page of the runs in a folder."""
    config, _ = sweep_config()
    names = ("sweep_scores", "sweep_measurements", "sweep_records", "sweep_evaluations")
    catalog = DataCatalog.from_config(
        {name: {**config[name], "path": str(finished / "sweep")} for name in names}
    )
    catalog["params:sweep"] = MemoryDataset(SweepParameters(**sections("sweep")))
    catalog["sweep_page"] = MemoryDataset()
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog["sweep_page"].load()


def test_the_page_compares_the_finished_runs(finished):
    page = compare(finished)
    assert page.count('<th scope="row">') == 2 + 3
    assert "1.200" in page
    assert "one seed cannot tell a difference from chance" in page


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("scores.json", "scores and this_seed.json are not of one evaluation"),
        ("measurements.parquet", "measurements and this_seed.json are not of one evaluation"),
        ("training.json", "sweep/infonce-1 holds a training of another signal or seed"),
    ],
)
def test_files_of_another_run_are_named(finished, file, words):
    other, own = (finished / "sweep" / name / file for name in ("infonce-0", "infonce-1"))
    own.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match=f"sweep/infonce-1.*{words}|{words}"):
        compare(finished)


def test_a_run_trained_anew_since_its_scores_is_named(finished):
    path = finished / "sweep" / "dcl-0" / "training.json"
    record = json.loads(path.read_text())
    record["products"]["adapters"]["dcr"] = "new"
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=r"sweep/dcl-0: the scores of dcr are of other weights"):
        compare(finished)
