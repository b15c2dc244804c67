"""The sweep: its runs stay out of the recipe's own results, and its page compares those that are finished."""

import json
from pathlib import Path

import pytest
import yaml
from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

from dcr.losses.signals import SIGNALS
from dcr.parameters import SweepParameters
from dcr.pipelines import evaluation, training
from dcr.pipelines.sweep import create_pipeline
from dcr.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).parents[2]


def sweep_config(**training_parameters):
    loader = OmegaConfigLoader(
        str(PROJECT / "conf"), env="sweep", runtime_params={"training": training_parameters}, **CONFIG_LOADER_ARGS
    )
    return loader["catalog"], loader["parameters"]


def places(catalog, names):
    return {name: catalog[name].get("filepath") or catalog[name]["path"] for name in names if name in catalog}


def test_a_run_writes_into_folders_of_its_own():
    catalog, parameters = sweep_config(signal="dcl", seed=1)
    written = training.create_pipeline().outputs() | evaluation.create_pipeline().all_outputs()
    for name, place in places(catalog, written | training.create_pipeline().all_outputs()).items():
        assert "/demo/sweep/dcl-1/" in f"{place}/", name
    assert parameters["training"]["signal"] == "dcl"
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
    base = OmegaConfigLoader(str(PROJECT / "conf"), **CONFIG_LOADER_ARGS)["catalog"]
    for name in ("latents", "backbone", "diffusion", "mmvp_vlm", "classification"):
        assert catalog[name] == base[name]


def test_every_signal_is_in_the_sweep():
    _, parameters = sweep_config()
    assert parameters["sweep"]["signals"] == list(SIGNALS)


@pytest.fixture
def finished(tmp_path):
    """Files of three finished runs, and of one that was stopped before it was evaluated."""
    for name, value in (("infonce-0", 0.5), ("infonce-1", 0.52), ("dcl-0", 0.51), ("dcl-1", 0.5)):
        folder = tmp_path / "sweep" / name
        folder.mkdir(parents=True)
        scores = {"probes": {"mean": value}, "clustering": {"acc": value / 2}}
        if name != "dcl-1":
            (folder / "scores.json").write_text(json.dumps({"base": scores, "dcr": scores}))
        (folder / "training.json").write_text(json.dumps({"runs": {"dcr": {"seconds": 12.0, "steps": 10}}}))
    return tmp_path


def test_the_page_compares_the_finished_runs(finished):
    config, _ = sweep_config()
    parameters = yaml.safe_load((PROJECT / "conf" / "base" / "parameters_sweep.yml").read_text())["sweep"]
    entries = {name: {**config[name], "path": str(finished / "sweep")} for name in ("sweep_scores", "sweep_records")}
    catalog = DataCatalog.from_config(entries)
    catalog["params:sweep"] = MemoryDataset(SweepParameters(**parameters))
    catalog["sweep_page"] = MemoryDataset()
    SequentialRunner().run(create_pipeline(), catalog)
    page = catalog["sweep_page"].load()
    assert page.count('<th scope="row">') == 2 + 3
    assert "1.200" in page
    assert "one seed cannot tell a difference from chance" in page
