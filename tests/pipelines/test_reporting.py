"""Pipeline `reporting` on its own catalog and parameters, with tiny models and the records of a
finished run.
"""

import json
import re
from copy import deepcopy
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

import belonging
import finished_run
from benchmark_folders import write_classification
from dcr.alignment import evaluated_hashes
from dcr.data.benchmark_sets import open_set
from dcr.datasets.published import PublishedTablesDataset
from dcr.errors import UserError
from dcr.models.backbones import Backbone, load_backbone
from dcr.models.projector import Projector
from dcr.parameters import EvaluationParameters, ReportingParameters, TrainingParameters
from dcr.parameters.section import merge
from dcr.pipelines.reporting import create_pipeline
from dcr.training.model import prepare_tower, tower_state
from diffusion_models import CROSS_ATTENTION_DIM, tiny_diffusion
from models import pixels, tiny_open_clip
from nested import nested

CONF = Path(__file__).parents[2] / "conf"
METHODS = ("dcr", "reconstruction", "naive")
PAGES = (
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


def section(name: str, **changes) -> dict:
    """Return the parameters of a section as the smallest recipe has them."""
    merged: dict = {}
    for recipe in ("base", "demo", "smoke"):
        path = CONF / recipe / f"parameters_{name}.yml"
        own = yaml.safe_load(path.read_text())[name] if path.exists() else {}
        merged = merge(merged, own)
    return merge(merged, nested(changes)) | {k: v for k, v in changes.items() if k == "phases"}


class KeptDataset(MemoryDataset):
    """Keeps what was written after the run, where another node reads it, too."""

    def release(self):
        """Do nothing; Kedro calls it after the last reader."""


def catalog_of(folder: Path, **changes) -> DataCatalog:
    text = (CONF / "base" / "catalog_reporting.yml").read_text().replace("${globals:recipe}", "r")
    catalog = DataCatalog.from_config(yaml.safe_load(text.replace("data/", f"{folder}/data/")))
    losses, backbone = finished_run.losses(), load_backbone(f"local-dir:{folder / 'clip'}")
    memory = {
        "params:reporting": ReportingParameters(**section("reporting")),
        "params:evaluation": EvaluationParameters(**section("evaluation")),
        "params:training": TrainingParameters(**section("training", phases={}, stage2_seeds=[])),
        "params:training.method": "dcr",
        "params:training.monitoring.report_to": [],
        "params:alignment": belonging.alignment(),
        "alignments": {},
        "alignment_record": {},
        "kept_selection": {},
        "published_tables": PublishedTablesDataset(
            filepath=str(CONF / "base" / "published.yml")
        ).load(),
        "params:recipe.name": "r",
        "parameters": {"training": section("training")},
        "scores": finished_run.scores(),
        "intervals": finished_run.intervals(),
        "comparisons": finished_run.comparisons(),
        "outcomes": finished_run.outcomes(),
        "measurements": finished_run.measurements(),
        "validation_summary": (
            finished_run.validation_summary() | {"accepted_sha256": belonging.SAMPLES}
        ),
        "conditions": finished_run.conditions(),
        "losses": {run: partial(losses.get, run) for run in losses},
        "synthesis_pictures": (
            finished_run.synthetic_positives() | {"made_from": {"samples": belonging.SAMPLES}}
        ),
        "evaluation_failures": [
            {"set": "dtd", "encoder": None, "error": "no benchmark set at /data/dtd"}
        ],
        "evaluation_sets": finished_run.sets(),
        "evaluation_cache": folder / "cache",
        "classification": partial(open_set, folder / "colours"),
        "mmvp_vlm": partial(open_set, folder / "mmvp"),
        "backbone": backbone,
        "adapters": dict.fromkeys(METHODS, lambda: untouched(backbone)),
        "diffusion": tiny_diffusion(folder / "tokenizer"),
        "projector": projector(),
    }
    for name, value in (records_of(memory | changes) | changes).items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    return catalog


def records_of(memory: dict) -> dict:
    """Add the records that training and evaluation would have left of these files."""
    told, losses = finished_run.training_record(), memory["losses"]
    trained = belonging.training_record(
        memory["params:training"],
        memory["backbone"],
        {name: load() for name, load in memory["adapters"].items()},
        projector=memory["projector"],
        runs={
            run: told["runs"][run] | {"loss": losses[run]()["loss"].iloc[-1]}
            for run in told["runs"]
        },
        conditions=memory["conditions"],
    )
    tables = {
        name: memory[name]
        for name in ("scores", "intervals", "comparisons", "outcomes", "measurements")
    }
    evaluated = belonging.this_seed(memory["params:evaluation"], trained, **tables)
    weights = {
        name: trained["hashes"][name] for name in ("backbone", "vae", "unet", "text_encoder")
    }
    return memory | {
        "training_record": trained,
        "base_models": finished_run.base_models_record() | {"weights": weights},
        "this_seed": evaluated,
        "seed_scores": {f"seed_{seed}": partial(dict, evaluated, seed=seed) for seed in (0, 1)},
    }


def untouched(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Return weights of LoRA as they are before training, which change nothing."""
    tuning = TrainingParameters(**section("training")).tuning
    encoder = deepcopy(backbone)
    torch.manual_seed(0)  # PEFT draws from it
    prepare_tower(encoder, tuning)
    return tower_state(encoder, tuning)


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
    assert all(
        uri in page
        for side in ("gained", "lost")
        for pair in flips[side]["pairs"]
        for uri in pair["images"]
    )


def test_the_page_shows_the_positives_that_were_made(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(
        uri in page for row in finished_run.synthetic_positives()["rows"] for uri in row["images"]
    )


def test_the_comparison_page_holds_every_encoder_seed_and_failure(folder):
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert page.count("<h3>DCR <small") == page.count("<h3>Naive sum <small") == 1
    assert "DCR, seed 1" not in page
    for words in (
        "Naive sum",
        "± ",
        "(0, 1)",
        "3 seeds",
        "dtd: no benchmark set at /data/dtd",
        "No queries were chosen",
    ):
        assert words in page, words
    assert json.loads((folder / "figures" / "sets.json").read_text())["data"]


def test_neighbours_are_found_for_the_queries_that_a_recipe_names(folder):
    queries = ["s0000000", "s0000003"]
    catalog = catalog_of(
        folder.parents[2],
        **{
            "params:reporting": ReportingParameters(
                **section("reporting", neighbour_queries=queries)
            )
        },
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
        catalog[name] = KeptDataset()
    SequentialRunner().run(create_pipeline(), catalog)
    page = catalog["comparison_page"].load()
    assert page.count('<div class="near">') == 4
    assert (
        page.count('class="same"') + page.count("<div><img")
        >= 4 * section("reporting")["num_shown_neighbours"]
    )


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

    scores, intervals, outcomes = (
        finished_run.scores(),
        finished_run.intervals(),
        finished_run.outcomes(),
    )
    for table in (scores, intervals):
        for benchmarks in table.values():
            del benchmarks["mmvp_vlm"]
    catalog = catalog_of(
        folder.parents[2],
        **{
            "params:evaluation": EvaluationParameters(
                **section("evaluation", sets=["classification"])
            ),
            "mmvp_vlm": refuse,
            "base_models": {},
            "scores": scores,
            "intervals": intervals,
            "comparisons": finished_run.comparisons("mmvp_vlm"),
            "outcomes": outcomes[outcomes["benchmark"] != "mmvp_vlm"],
            "measurements": finished_run.measurements("mmvp_vlm"),
        },
    )
    for name in PAGES:
        catalog[name] = KeptDataset()
    SequentialRunner().run(create_pipeline(), catalog)
    assert "MMVP-VLM was not evaluated." in catalog["report"].load()


def test_without_any_evaluation_set_the_pages_say_so_in_words(folder):
    empty = {encoder: {} for encoder in finished_run.scores()}
    catalog = catalog_of(
        folder.parents[2],
        **{
            "params:evaluation": EvaluationParameters(
                **section("evaluation", sets=["mmvp_vlm", "classification"])
            ),
            "params:reporting": ReportingParameters(
                **section("reporting", neighbour_queries=["s0000000"])
            ),
            "mmvp_vlm": None,
            "classification": None,
            "scores": empty,
            "intervals": empty,
            "comparisons": {},
            "outcomes": finished_run.outcomes().iloc[:0],
            "measurements": finished_run.measurements().iloc[:0],
            "evaluation_failures": [],
            "evaluation_sets": [],
        },
    )
    for name in PAGES:
        catalog[name] = KeptDataset()
    SequentialRunner().run(create_pipeline(), catalog)
    report, comparison = catalog["report"].load(), catalog["comparison_page"].load()
    assert "Nothing was scored: no evaluation set was read." in report
    assert "Nothing was scored: no evaluation set was read." in comparison
    assert report.count("was not evaluated") + report.count("evaluated together") >= 3


def test_a_loss_log_of_dcr_is_marked_with_the_bounds_of_its_batch(folder):
    layout = json.loads((folder / "figures" / "losses.json").read_text())["layout"]
    batch = section("training")["stage2"]["train_batch_size"]
    texts = {annotation["text"] for annotation in layout["annotations"]}
    assert {"floor, log 2", f"no contrast, log {batch + 1}"} <= texts


def test_pictures_are_of_the_aligned_encoder_where_there_is_one(folder):
    """Of what `check_results` hands on as the product; the encoder as trained stays as it is."""
    catalog = catalog_of(folder.parents[2])
    backbone, parameters = catalog["backbone"].load(), belonging.alignment("image")
    maps = {name: {"image_map": 2 * torch.eye(24)} for name in ("base", *METHODS)}
    trained = catalog["training_record"].load()
    record = belonging.alignment_record(parameters, trained, maps)
    evaluated = catalog["this_seed"].load()
    evaluated["encoders"] = evaluated_hashes(record, parameters, trained)
    memory = {
        "params:alignment": parameters,
        "alignments": {name: partial(maps.get, name) for name in maps},
        "alignment_record": record,
        "this_seed": evaluated,
        "seed_scores": {"seed_0": lambda: evaluated},
    }
    for name, value in memory.items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    product = (
        SequentialRunner()
        .run(create_pipeline().only_nodes("check_results"), catalog)["product"]
        .load()
    )
    features = backbone.encode_image(pixels())
    torch.testing.assert_close(product.encode_image(pixels()), 2 * features)
    readers = {node.name for node in create_pipeline().nodes if "product" in node.inputs}
    assert readers == {"show_neighbours", "draw_reconstructions", "describe_models"}


def test_only_a_phase_whose_loss_is_the_contrast_alone_is_marked_with_its_bounds():
    """A share of the noise error, or a pull, moves floor and level."""
    from dcr.pipelines.reporting.figure_nodes import plot_training

    phases = [
        {"objective": "reconstruction"},
        {"objective": "dcr", "train_batch_size": 7},
        {"objective": "dcr", "reconstruction_share": 0.5},
        {"objective": "dcr", "base_embedding_weight": 1.0},
    ]
    changes = {"method": "mine", "baselines": [], "phases": {"mine": phases}, "stage2_seeds": [1]}
    training = TrainingParameters(**section("training", **changes))
    log = pd.DataFrame({"step": [1, 2], "loss": [2.0, 1.0]})
    logs = {
        f"mine.{number}{seed}": partial(log.copy) for seed in ("", "@1") for number in (1, 2, 3, 4)
    }
    record = {"runs": dict.fromkeys(logs)}
    figure, _ = plot_training(ReportingParameters(**section("reporting")), training, record, logs)
    texts = [annotation.text for annotation in figure.layout.annotations]
    assert [text for text in texts if "log" in text] == ["floor, log 2", "no contrast, log 8"]
    assert texts[:2] == ["mine, phase 1", "mine, phase 2"]


def refused(folder, changes):
    """Return the sentence that the pipeline ends with, having run nothing but its check."""
    catalog = catalog_of(folder.parents[2])
    for name, value in changes.items():
        catalog[name] = MemoryDataset(value, copy_mode="assign")
    with pytest.raises(UserError) as caught:
        SequentialRunner().run(create_pipeline().only_nodes("check_results"), catalog)
    return str(caught.value)


def test_a_page_joins_only_what_belongs_together(folder):
    """Each file of another run than the others: what does not fit is named, and what to run."""
    losses = finished_run.losses()
    log = {run: partial(lambda table: table, losses[run].assign(loss=0.5)) for run in losses}
    other = load_backbone(f"local-dir:{folder.parents[2] / 'clip'}")
    with torch.no_grad():
        next(other.visual.parameters()).add_(1)
    evaluated = catalog_of(folder.parents[2])["this_seed"].load()
    training, evaluation = (
        section(name, **changes)
        for name, changes in (
            ("training", {"loss.temperature": 0.3, "phases": {}, "stage2_seeds": []}),
            ("evaluation", {"num_resamples": 7}),
        )
    )
    of_others = evaluated | {"encoders": evaluated["encoders"] | {"dcr": "old"}}
    cases = {
        "training.loss.temperature 0.1, the recipe says 0.3": {
            "params:training": TrainingParameters(**training)
        },
        "evaluation.num_resamples 100, the recipe says 7": {
            "params:evaluation": EvaluationParameters(**evaluation)
        },
        "started from other weights": {"backbone": other},
        "trained weights of dcr are not those": {
            "adapters": dict.fromkeys(METHODS, lambda: {"a": torch.ones(1)})
        },
        "trained weights of naive, .* are not there": {"adapters": {"dcr": dict}},
        "projector is not the one": {"projector": {"1.weight": torch.ones(1)}},
        "conditions.json is not of the training": {"conditions": {"projector": {}}},
        "losses of stage1 are not of the training": {"losses": log},
        "losses of stage1 are not of": {"losses": {}},
        "validation.json does not tell": {"validation_summary": finished_run.validation_summary()},
        "base_models.json tells of other base models": {
            "base_models": finished_run.base_models_record()
        },
        "synthesis_pictures.json shows positives of other": {
            "synthesis_pictures": finished_run.synthetic_positives()
        },
        "scores and this_seed.json are not of one": {"scores": {"base": {}, "dcr": {}}},
        "intervals and this_seed.json are not of one": {"intervals": {}},
        "comparisons and this_seed.json are not of one": {"comparisons": {}},
        "outcomes and this_seed.json are not of one": {"outcomes": finished_run.outcomes()[:9]},
        "measurements and this_seed.json are not of one": {
            "measurements": finished_run.measurements("probes")
        },
        "scores of dcr are of other weights": {"this_seed": of_others},
        "seeds/seed_0.json is not of the evaluation": {
            "seed_scores": {"seed_0": lambda: {"scores": {}}}
        },
    }
    for sentence, changes in cases.items():
        told = refused(folder, changes)
        assert re.search(sentence, told), told
        assert "`kedro run --pipelines " in told


def test_nothing_is_computed_before_the_check():
    pipeline = create_pipeline()
    later = pipeline.filter(from_nodes=["check_results"])
    assert {node.name for node in pipeline.nodes} == {node.name for node in later.nodes}
