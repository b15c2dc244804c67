"""Pipeline `reporting` on its own catalog and parameters, with tiny models and the records of a finished run."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

import finished_run
from benchmark_folders import write_classification
from dcr.backbones import load_backbone
from dcr.benchmark_sets import open_set
from dcr.parameters import EvaluationParameters, ReportingParameters, TrainingParameters
from dcr.pipelines.reporting import create_pipeline
from dcr.projector import Projector
from diffusion_models import CROSS_ATTENTION_DIM, tiny_diffusion
from models import tiny_open_clip

CONF = Path(__file__).parents[2] / "conf"


def section(name: str, **changes) -> dict:
    """Return the parameters of a section as the smallest recipe has them."""
    merged: dict = {}
    for recipe in ("base", "smoke"):
        path = CONF / recipe / f"parameters_{name}.yml"
        merged |= yaml.safe_load(path.read_text())[name] if path.exists() else {}
    return merged | changes


def catalog_of(folder: Path, **changes) -> DataCatalog:
    text = (CONF / "base" / "catalog_reporting.yml").read_text().replace("${globals:recipe}", "r")
    catalog = DataCatalog.from_config(yaml.safe_load(text.replace("data/", f"{folder}/data/")))
    losses = finished_run.losses()
    memory = {
        "params:reporting": ReportingParameters(**section("reporting")),
        "params:evaluation": EvaluationParameters(**section("evaluation")),
        "params:training": TrainingParameters(**section("training")),
        "params:training.method": "dcr",
        "params:recipe.name": "r",
        "parameters": {"training": section("training")},
        "scores": finished_run.scores(),
        "intervals": finished_run.intervals(),
        "outcomes": finished_run.outcomes(),
        "validation_summary": finished_run.validation_summary(),
        "base_models": finished_run.base_models_record(),
        "conditions": finished_run.conditions(),
        "training_record": finished_run.training_record(),
        "losses": {run: partial(losses.get, run) for run in losses},
        "synthesis_pictures": finished_run.made_positives(),
        "this_seed": seed_run(0),
        "seed_scores": {f"seed_{seed}": partial(seed_run, seed) for seed in (0, 1)},
        "evaluation_failures": [{"set": "dtd", "encoder": None, "error": "no benchmark set at /data/dtd"}],
        "evaluation_cache": folder / "cache",
        "classification": partial(open_set, folder / "colours"),
        "mmvp_vlm": partial(open_set, folder / "mmvp"),
        "backbone": load_backbone(f"local-dir:{folder / 'clip'}"),
        "encoder": load_backbone(f"local-dir:{folder / 'clip'}"),
        "diffusion": tiny_diffusion(folder / "tokenizer"),
        "projector": projector(),
    }
    for name, value in (memory | changes).items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    return catalog


def seed_run(seed: int) -> dict:
    return {"seed": seed, "configuration": "c", "scores": finished_run.scores()}


def projector() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return Projector(24, CROSS_ATTENTION_DIM).state_dict()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    finished_run.write_mmvp(folder / "mmvp")
    tiny_open_clip(folder / "clip")
    write_classification(folder / "colours")
    SequentialRunner().run(create_pipeline(), catalog_of(folder))
    return folder / "data" / "08_reporting" / "r"


def test_the_page_and_its_charts_are_written(folder):
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    for name in ("radar", "p_against_d", "losses", "contrast"):
        assert json.loads((folder / "figures" / f"{name}.json").read_text())["data"]


def test_the_page_holds_the_reconstructions_and_the_flipped_pairs(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    reconstructions = json.loads((folder / "reconstructions.json").read_text())
    assert [column["name"] for column in reconstructions["columns"]] == [
        "original",
        "vae",
        "empty_prompt",
        "base",
        "dcr",
    ]
    assert len(reconstructions["rows"]) == section("reporting")["num_reconstructions"]
    flips = json.loads((folder / "flipped_pairs.json").read_text())
    assert all(uri in page for row in reconstructions["rows"] for uri in row["images"])
    assert all(uri in page for side in ("gained", "lost") for pair in flips[side]["pairs"] for uri in pair["images"])


def test_the_page_shows_the_positives_that_were_made(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(uri in page for row in finished_run.made_positives()["rows"] for uri in row["images"])


def test_the_comparison_page_holds_every_encoder_seed_and_failure(folder):
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    for words in ("Naive sum", "± ", "(0, 1)", "dtd: no benchmark set at /data/dtd", "No queries were chosen"):
        assert words in page, words
    assert json.loads((folder / "figures" / "sets.json").read_text())["data"]


def test_neighbours_are_found_for_the_queries_that_a_recipe_names(folder):
    queries = ["s0000000", "s0000003"]
    catalog = catalog_of(
        folder.parents[2],
        **{"params:reporting": ReportingParameters(**section("reporting", neighbour_queries=queries))},
    )
    names = (
        "report",
        "comparison_page",
        "radar_plot",
        "p_against_d_plot",
        "sets_plot",
        "loss_plot",
        "contrast_plot",
        "flipped_pairs",
    )
    for name in (*names, "reconstructions"):
        catalog[name] = MemoryDataset()
    SequentialRunner().run(create_pipeline(), catalog)
    page = catalog["comparison_page"].load()
    assert page.count('<div class="near">') == 4
    assert page.count('class="same"') + page.count("<div><img") >= 4 * section("reporting")["num_shown_neighbours"]


def test_an_encoder_that_was_not_changed_draws_what_the_base_draws(folder):
    for row in json.loads((folder / "reconstructions.json").read_text())["rows"]:
        assert row["images"][3] == row["images"][4]


def test_a_second_run_writes_the_same_bytes(folder):
    written = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    SequentialRunner().run(create_pipeline(), catalog_of(folder.parents[2]))
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == written


def test_a_recipe_that_leaves_out_mmvp_opens_no_set(folder):
    def refuse():
        raise AssertionError("the set was opened")

    scores, intervals, outcomes = finished_run.scores(), finished_run.intervals(), finished_run.outcomes()
    for table in (scores, intervals):
        for benchmarks in table.values():
            del benchmarks["mmvp_vlm"]
    catalog = catalog_of(
        folder.parents[2],
        **{
            "params:evaluation": EvaluationParameters(**section("evaluation", sets=["classification"])),
            "mmvp_vlm": refuse,
            "base_models": {},
            "scores": scores,
            "intervals": intervals,
            "outcomes": outcomes[outcomes["benchmark"] != "mmvp_vlm"],
        },
    )
    names = (
        "radar_plot",
        "p_against_d_plot",
        "sets_plot",
        "comparison_page",
        "loss_plot",
        "contrast_plot",
        "flipped_pairs",
        "reconstructions",
        "report",
    )
    for name in names:
        catalog[name] = MemoryDataset()
    SequentialRunner().run(create_pipeline(), catalog)
    assert "MMVP-VLM was not evaluated." in catalog["report"].load()


def test_a_loss_log_of_dcr_is_marked_with_the_bounds_of_its_batch(folder):
    layout = json.loads((folder / "figures" / "losses.json").read_text())["layout"]
    batch = section("training")["stage2_train_batch_size"]
    texts = {annotation["text"] for annotation in layout["annotations"]}
    assert {"floor, log 2", f"no contrast, log {batch + 1}"} <= texts
