"""Pipeline `ledger` on its own catalog: the recipe's own encoders, published ones, and what is
refused.
"""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import yaml
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner

import belonging
import finished_run
from benchmark_folders import ColourBackbone, write_mmvp
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.parameters import EvaluationParameters, LedgerParameters, TrainingParameters
from dcr.parameters.section import merge
from dcr.pipelines.ledger import create_pipeline
from dcr.published.tables import check_tables
from project import run
from published_example import example

CONF = Path(__file__).parents[2] / "conf"
OWN = {"plain": "base", "sharp": "dcr"}


class Given(MemoryDataset):
    """A dataset whose value may be None, as that of a set which the recipe does not have."""

    def __init__(self, value):
        super().__init__(copy_mode="assign")
        self._value = value

    def load(self):
        return self._value

    def _exists(self):
        return True


def section(name):
    paths = [CONF / env / f"parameters_{name}.yml" for env in ("base", "smoke")]
    found = [yaml.safe_load(path.read_text())[name] for path in paths if path.exists()]
    return merge({}, merge(found[0], found[-1]))


def own_files():
    """What the recipe's evaluation would have left, of the finished run in miniature."""
    evaluation = EvaluationParameters(**section("evaluation"))
    training = TrainingParameters(**section("training") | {"phases": {}, "stage2_seeds": []})
    methods = [name for name in finished_run.ENCODERS if "base" not in name]
    trained = belonging.training_record(training, ColourBackbone(), {name: {} for name in methods})
    tables = {"outcomes": finished_run.outcomes(), "measurements": finished_run.measurements()}
    scores = finished_run.scores()
    evaluated = belonging.this_seed(evaluation, trained, scores=scores, **tables)
    files = {
        "own_training": trained,
        "own_evaluation": evaluated,
        "own_scores": scores,
        "own_sets": finished_run.sets(),
        **{f"own_{name}": table for name, table in tables.items()},
    }
    return evaluation, training, files


def ledger_of(folder, own=OWN, values=None, more_encoders=None, mmvp=None, **changed):
    """Run the pipeline and return its catalog; ``changed`` takes the place of own files."""
    evaluation, training, files = own_files()
    text = (CONF / "base/catalog_ledger.yml").read_text().replace("${globals:recipe}", "mine")
    entries = yaml.safe_load(text.replace("data/", f"{folder}/data/"))
    catalog = DataCatalog.from_config({name: entries[name] for name in ("ledger", "ledger_page")})
    memory = {
        "params:ledger": LedgerParameters(own=own),
        "params:evaluation": evaluation,
        "params:training": training,
        "params:alignment": belonging.alignment(),
        "params:recipe.name": "mine",
        "published_tables": check_tables(values or example(), "published.yml"),
        "alignment_record": {},
        **(files | changed),
        "more_encoders": more_encoders or {},
        "mmvp_vlm": mmvp,
        "classification": None,
        "retrieval": None,
        "more_sets": {},
        "evaluation_cache": folder / "cache",
    }
    for name, value in memory.items():
        catalog[name] = Given(value)
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog


def rows_of(catalog):
    return {(row["encoder"], row["kind"]): row for row in catalog["ledger"].load()["rows"]}


def test_the_recipes_own_seeds_stand_beside_what_is_published(tmp_path):
    values = example()
    base = finished_run.scores()["base"]["mmvp_vlm"]["mean"]
    values["tables"][0] |= {"values": {"plain": round(100 * base, 1), "sharp": 99.0}}
    catalog = ledger_of(tmp_path, values=values)
    rows = rows_of(catalog)
    assert rows["plain", "score"]["reason"] == "the same in every stated digit"
    assert rows["plain", "score"]["num_items"] == 135
    sharp = rows["sharp", "improvement"]
    assert (sharp["here"], sharp["measured"]["num_seeds"]) == ("dcr", 3)
    assert sharp["verdict"] == "not reproduced"
    difference = finished_run.comparisons()["dcr"]["mmvp_vlm"]["mean"]["difference"]
    assert sharp["measured"] == pytest.approx(difference)
    assert "here: DCR, 3 seeds" in catalog["ledger_page"].load()


@pytest.mark.parametrize(
    ("benchmark", "metric", "name", "items"),
    [
        ("mmvp_vlm", "Texts", "mmvp_vlm", 135),
        ("clustering", "nmi", "classification", 400),
        ("clustering", "ari", "classification", 400),
        ("zero_shot", "acc1", "classification", 400),
        ("probes", "mean", "classification", 100),
    ],
)
def test_a_number_of_any_kind_is_found_by_its_name(tmp_path, benchmark, metric, name, items):
    values = example()
    base = finished_run.scores()["base"][benchmark][metric]
    values["tables"][0] |= {
        "benchmark": benchmark,
        "metric": metric,
        "sets": [name],
        "items": items,
        "rule": "image_score" if benchmark == "mmvp_vlm" else "words",
        "values": {"plain": 100 * base},
    }
    row = rows_of(ledger_of(tmp_path, values=values))["plain", "score"]
    assert row["measured"]["value"] == pytest.approx(base)
    assert (row["num_items"], row["verdict"]) == (items, "reproduced")


def test_published_weights_are_evaluated_on_the_recipes_sets(tmp_path):
    mmvp = partial(open_set, write_mmvp(tmp_path / "mmvp"))
    encoders = {"plain": partial(ColourBackbone, 0.0), "sharp": ColourBackbone, "siglip": None}
    rows = rows_of(ledger_of(tmp_path, own={}, more_encoders=encoders, mmvp=mmvp))
    assert rows["plain", "score"]["measured"]["value"] == 0  # ties are misses
    assert rows["sharp", "score"]["measured"]["value"] == 1
    assert rows["sharp", "improvement"]["measured"]["num_seeds"] == 0
    assert rows["sharp", "improvement"]["verdict"] == "not reproduced"


def test_an_encoder_that_cannot_be_loaded_is_told_after_the_page_is_written(tmp_path):
    def fails():
        raise UserError("no such folder")

    mmvp = partial(open_set, write_mmvp(tmp_path / "mmvp"))
    encoders = {"plain": ColourBackbone, "sharp": fails}
    with pytest.raises(UserError, match="not evaluated: encoder sharp: no such folder"):
        ledger_of(tmp_path, own={}, more_encoders=encoders, mmvp=mmvp)


@pytest.mark.parametrize("without", ["own_measurements", "own_evaluation"])
def test_a_recipe_that_was_not_evaluated_has_nothing_beside(tmp_path, caplog, without):
    rows = rows_of(ledger_of(tmp_path, **{without: None}))
    assert {row["verdict"] for row in rows.values()} == {"not measured here"}
    assert "run `kedro run --pipelines evaluation`" in caplog.text


def test_names_that_are_not_there_are_told(tmp_path, caplog):
    with pytest.raises(UserError, match=r"'plane' is no encoder .*, did you mean 'plain'"):
        ledger_of(tmp_path, own={"plane": "base"})
    with pytest.raises(UserError, match="'plain' is named in more_encoders, too"):
        mmvp = partial(open_set, write_mmvp(tmp_path / "mmvp"))
        ledger_of(tmp_path, more_encoders={"plain": ColourBackbone}, mmvp=mmvp)
    rows = rows_of(ledger_of(tmp_path, own={"plain": "base", "sharp": "dcrr"}))
    assert rows["sharp", "score"]["reason"] == "sharp, here dcrr, has no score"
    assert "did you mean 'dcr'?" in caplog.text


def test_null_takes_back_what_an_extended_recipe_names(tmp_path):
    rows = rows_of(ledger_of(tmp_path, own={"plain": "base", "sharp": None, "other": None}))
    assert rows["sharp", "score"]["reason"] == "no encoder here stands for sharp"


def test_scores_of_another_evaluation_are_refused(tmp_path):
    other = finished_run.measurements("probes")
    with pytest.raises(UserError, match=r"measurements and this_seed\.json are not of one"):
        ledger_of(tmp_path, own_measurements=other)


@pytest.mark.xdist_group("smoke")
def test_the_whole_on_the_smallest_recipe(smoke_project, tmp_path):
    """Its own numbers as published ones: all are reproduced, by its encoders and by its export."""
    project = shutil.copytree(smoke_project, tmp_path / "project")
    reporting = project / "data/08_reporting/smoke"
    scores = json.loads((reporting / "scores.json").read_text())
    values = example()
    values["encoders"]["exported"] = {"name": "Exported", "method": "DCR", "base": "plain"}
    stated = {
        "plain": scores["base"]["probes"]["mean"],
        "sharp": scores["dcr"]["probes"]["mean"],
        "exported": scores["dcr"]["probes"]["mean"],
    }
    table = {"benchmark": "probes", "metric": "mean", "sets": ["classification"], "items": 40}
    table |= {"unit": "fraction", "rounding": 1e-6, "rule": "linear probes", "values": stated}
    values["tables"] = [values["tables"][0] | table]
    (project / "conf/smoke/published.yml").write_text(yaml.safe_dump(values))
    with (project / "conf/smoke/globals.yml").open("a") as file:
        file.write("published: conf/smoke/published.yml\n")
        file.write("more_encoders: {exported: data/06_models/smoke/encoder}\n")
    demo = yaml.safe_load((CONF / "demo/parameters_ledger.yml").read_text())["ledger"]["own"]
    own = dict.fromkeys(demo) | OWN
    (project / "conf/smoke/parameters_ledger.yml").write_text(
        yaml.safe_dump({"ledger": {"own": own}})
    )
    run("kedro", "run", "--env", "smoke", "--pipelines", "ledger", cwd=project)
    told = json.loads((reporting / "ledger.json").read_text())
    rows = {(row["encoder"], row["kind"]): row for row in told["rows"]}
    for name in ("plain", "exported"):
        assert rows[name, "score"]["verdict"] == "reproduced"
        assert rows[name, "score"]["measured"]["value"] == pytest.approx(stated[name], abs=1e-6)
    assert rows["sharp", "score"]["measured"]["num_seeds"] == 2
    page = (reporting / "ledger.html").read_text()
    assert re.search(r"published scores: \d reproduced", page)
