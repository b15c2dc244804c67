"""Pipeline `selection` as a user runs it, on the smoke recipe: to its end, and cut in its
middle.
"""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml

from dcr.pipeline_registry import register_pipelines
from project import PROJECT, run

pytestmark = pytest.mark.xdist_group("smoke")

COMMAND = ("kedro", "run", "--env", "smoke", "--pipelines", "selection")
RESULTS = "data/08_reporting/smoke/selection"
CHECKPOINTS = "data/06_models/smoke/selection/checkpoints"
TEST_SETS = {"mmvp_vlm", "classification", "retrieval", "more_sets"}


@pytest.fixture(scope="module")
def prepared(smoke_project, tmp_path_factory):
    """A project with all that a search needs and nothing that it must not read: the test sets
    are gone.
    """
    project = shutil.copytree(smoke_project, tmp_path_factory.mktemp("selection") / "prepared")
    run("kedro", "run", "--env", "smoke", "--pipelines", "scenes_validation", cwd=project)
    shutil.rmtree(project / "data/01_raw/smoke/sets")
    shutil.rmtree(project / "data/04_feature")
    return project


@pytest.fixture(scope="module")
def searched(prepared, tmp_path_factory):
    """The same after an undisturbed search."""
    project = shutil.copytree(prepared, tmp_path_factory.mktemp("searched") / "project")
    run(*COMMAND, cwd=project)
    return project


def read(project, name):
    return json.loads((project / "data/08_reporting/smoke" / name).read_text())


def candidates():
    return yaml.safe_load((PROJECT / "conf/smoke/parameters_selection.yml").read_text())[
        "selection"
    ]["candidates"]


def test_no_test_set_is_among_the_pipelines_data():
    pipelines = register_pipelines()
    assert not pipelines["selection"].datasets() & TEST_SETS
    sets = {name for name in pipelines["selection"].inputs() if name.startswith("validation_")}
    assert sets == pipelines["scenes_validation"].all_outputs() - {"drawn_validation_sets"}


def test_no_recipe_pays_for_a_search_by_itself():
    assert (
        not register_pipelines()["__default__"].all_outputs()
        & register_pipelines()["selection"].all_outputs()
    )
    for path in (PROJECT / "conf").glob("*/globals.yml"):
        assert "selection" not in (yaml.safe_load(path.read_text()) or {}).get("pipelines", [])


def test_the_choice_is_that_of_the_rule_by_an_independent_computation(searched):
    section = {
        **yaml.safe_load((PROJECT / "conf/base/parameters_selection.yml").read_text())["selection"],
        **yaml.safe_load((PROJECT / "conf/smoke/parameters_selection.yml").read_text())[
            "selection"
        ],
    }

    def gain(found, measure):
        benchmark, _, metric = measure.partition(".")
        after = np.mean(
            [found["scores"][f"dcr@{seed}"][benchmark][metric] for seed in section["seeds"]]
        )
        return after - found["scores"]["base"][benchmark][metric]

    smallest, excess = {}, {}
    for candidate in section["candidates"]:
        found = read(searched, f"selection/{candidate['name']}.json")
        smallest[candidate["name"]] = min(
            gain(found, e["measure"]) / e["scale"] for e in section["improve"]
        )
        excess[candidate["name"]] = max(
            -gain(found, e["measure"]) - e["loss"] for e in section["keep"]
        )
    keeping = [name for name in smallest if excess[name] <= 1e-9]
    record = read(searched, "selection.json")
    assert record["keeps_all"] == bool(keeping)
    assert record["chosen"] == (
        max(keeping, key=smallest.get) if keeping else min(excess, key=excess.get)
    )
    for name, told in record["candidates"].items():
        assert told["smallest_gain"] == pytest.approx(smallest[name])
        assert max(told["violations"].values(), default=0) == pytest.approx(
            max(0, excess[name]), abs=1e-9
        )
    assert record["num_settings_tried"] == 2
    assert record["chosen"] in record["why"]


def test_the_page_names_every_candidate_and_opens_offline(searched):
    page = (searched / "data/08_reporting/smoke/selection.html").read_text()
    assert all(f'<th scope="row">{candidate["name"]}' in page for candidate in candidates())
    assert "Base, aligned as detail_then_classes" in page
    assert "<script src" not in page


def test_a_search_of_what_is_done_trains_nothing(searched, tmp_path):
    project = shutil.copytree(searched, tmp_path / "project")
    told = run(*COMMAND, cwd=project)
    assert "2 candidates are done" in told.stdout + told.stderr
    before, after = (
        (folder / RESULTS / "dcr_pure.json").read_bytes() for folder in (searched, project)
    )
    assert before == after


def test_a_search_that_is_killed_goes_on_without_the_candidates_that_are_done(
    prepared, searched, tmp_path
):
    project = shutil.copytree(prepared, tmp_path / "project")
    first = kill_after_one_candidate(project)
    (written,) = (project / RESULTS).glob("*.json")
    assert written.stem == first
    weights = {
        path: path.stat().st_mtime_ns
        for path in (project / CHECKPOINTS / first).rglob("*.safetensors")
    }
    outcome = written.read_bytes()
    run(*COMMAND, cwd=project)
    assert written.read_bytes() == outcome
    assert {path: path.stat().st_mtime_ns for path in weights} == weights != {}
    for candidate in candidates():
        name = f"selection/{candidate['name']}.json"
        found, undisturbed = (read(folder, name) for folder in (project, searched))
        assert found["scores"] == undisturbed["scores"], name
        assert found["made_of"] == undisturbed["made_of"], name
    assert read(project, "selection.json")["chosen"] == read(searched, "selection.json")["chosen"]


def kill_after_one_candidate(project):
    """Start a search, kill it as soon as it has told that a candidate is done, and return that
    candidate's name.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "400", "NO_COLOR": "1"}
    code = f"import sys; sys.argv = {list(COMMAND)!r}; from kedro.framework.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        for line in process.stdout:
            if "1 of 2 candidates are done" in line:
                process.kill()
                break
        else:
            pytest.fail("the search ended without telling of its first candidate")
    (first,) = (path.stem for path in (project / RESULTS).glob("*.json"))
    return first
