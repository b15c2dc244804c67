"""Stages for DVC: made from the pipelines, whatever the recipe; what DVC makes of them is
tested in test_project.
"""

from __future__ import annotations

import ast
import inspect
import re
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path

import pytest
import yaml
from kedro.framework.startup import bootstrap_project

from dcr.errors import UserError
from dcr.framework.dvc_files import Recipe, data_paths
from dcr.framework.make_dvc import write_stages
from dcr.pipeline_registry import register_pipelines
from project import PROJECT, copy_project

CONF = PROJECT / "conf"


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch):
    bootstrap_project(PROJECT)
    monkeypatch.chdir(PROJECT)


@pytest.fixture
def stages(tmp_path):
    """Return the stages of a recipe as they would be written into the project."""

    def make(env, conf=CONF):
        return yaml.safe_load(write_stages(env, conf, tmp_path / "dvc.yaml").read_text())["stages"]

    return make


def paths(entries):
    """Return the paths of outputs or dependencies, without DVC's options."""
    return [path for entry in entries for path in (entry if isinstance(entry, dict) else [entry])]


def tracked(stage):
    return {path: keys for entry in stage["params"] for path, keys in entry.items()}


def test_the_projects_own_file_is_what_the_command_writes(tmp_path, monkeypatch):
    project = copy_project(tmp_path / "project")
    monkeypatch.chdir(project)
    monkeypatch.setattr("dcr.__file__", str(project / "src/dcr/__init__.py"))
    written = write_stages(None, project / "conf")
    assert written == project / "dvc.yaml"
    assert written.read_text() == (PROJECT / "dvc.yaml").read_text(), "run `kedro make-dvc`"


def test_there_are_no_other_stages_in_the_repository_that_a_status_of_it_would_tell_of():
    listed = subprocess.run(
        ["git", "ls-files", "*dvc.yaml", "*.dvc"], cwd=PROJECT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("not a Git repository")
    assert listed.stdout.split() == ["dvc.yaml"]


def test_every_file_of_the_configuration_that_the_demo_reads_is_followed():
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    followed = {path for stage in stages.values() for path in [*tracked(stage), *stage["deps"]]}
    unread = {"catalog_selection.yml", "catalog_sweep.yml", "published.yml"}
    for path in sorted((CONF / "base").glob("*.yml")):
        name = f"conf/base/{path.name}"
        assert (name in followed) != (path.name in unread), name
    assert all("conf/local" in stage["deps"] for stage in stages.values())


def test_a_stage_follows_the_sections_and_globals_that_it_reads_and_no_others():
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    latents = tracked(stages["latents"])
    assert latents["conf/base/parameters_latents.yml"] == ["latents"]
    assert "conf/base/parameters_training.yml" not in latents
    assert "retrieval" not in latents["conf/base/globals.yml"]
    assert "expectations" in tracked(stages["validation"])["conf/base/globals.yml"]


def test_a_stage_reads_what_earlier_ones_wrote_and_no_path_is_written_twice(stages):
    made = {}
    for name, stage in stages("smoke").items():
        for path in paths(stage["deps"]):
            if path.startswith("data/"):
                assert path in made, (name, path)
        for path in paths([*stage["outs"], *stage.get("metrics", [])]):
            assert path not in made, (made.get(path), name)
            made[path] = name
    assert made["data/06_models/smoke/encoder"] == "export"


def test_a_recipes_stages_are_its_own_pipelines_after_its_models(stages):
    made = stages("siglip_so400m_224")
    assert list(made) == [
        "models",
        "validation",
        "latents",
        "training",
        "alignment",
        "evaluation",
        "export",
        "reporting",
    ]
    assert {"conf/siglip_so400m_224", "conf/photographs"} <= set(made["latents"]["deps"])
    assert "data/06_models/siglip_so400m_224/models.json" in made["latents"]["deps"]
    assert "conf/local" not in made["latents"]["deps"]
    assert made["latents"]["cmd"] == "kedro run --env siglip_so400m_224 --pipelines latents"


def test_the_users_own_data_are_followed_where_they_are_and_told_where_they_are_not(
    tmp_path, stages
):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards/00000.tar").touch()
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf/mine").mkdir()
    (tmp_path / "conf/mine/globals.yml").write_text(
        "extends: photographs\nrecipe: mine\npipelines: [validation]\nshards:"
        f" {tmp_path}/shards/*.tar\nmmvp_vlm: {tmp_path}/nowhere\nbackbone: org/name@{'0' * 40}\n"
    )
    deps = stages("mine", tmp_path / "conf")["validation"]["deps"]
    assert f"{tmp_path}/shards" in deps
    text = (tmp_path / "dvc.yaml").read_text()
    assert "Not there when it was made, and so not followed: " in text
    assert f"{tmp_path}/nowhere" in text


def test_the_sweeps_runs_start_from_what_the_demo_left(stages):
    made = stages("sweep")
    run, compare = made["run"], made["compare"]
    assert run["matrix"]["seed"] == [0, 1, 2]
    assert "training.signal.name=${item.signal},training.seed=${item.seed}" in run["cmd"]
    assert {"data/05_model_input/demo/latents", "data/06_models/demo/base/clip"} <= set(run["deps"])
    own = "demo/sweep/${item.signal}-${item.seed}"
    assert paths(run["outs"]) == [
        f"data/07_model_output/{own}/measurements.parquet",
        *(f"data/08_reporting/{own}/{name}.json" for name in ("scores", "this_seed", "training")),
    ]
    assert "data/08_reporting/demo/sweep" in compare["deps"]
    assert compare["outs"] == ["data/08_reporting/demo/sweep.html"]


def test_the_ledger_follows_the_files_of_the_evaluation_and_not_the_folder_that_it_writes_to(
    tmp_path, stages
):
    shutil.copytree(CONF, tmp_path / "conf")
    (tmp_path / "conf/mine").mkdir()
    (tmp_path / "conf/mine/globals.yml").write_text(
        "extends: demo\nrecipe: mine\npipelines: [scenes, validation, latents, training, alignment,"
        " evaluation, ledger]\n"
    )
    made = stages("mine", tmp_path / "conf")["ledger"]
    reporting = "data/08_reporting/mine"
    read = {path for path in made["deps"] if path.startswith(("data/07", "data/08"))}
    assert read == {
        *(f"data/07_model_output/mine/{name}.parquet" for name in ("measurements", "outcomes")),
        *(
            f"{reporting}/{name}.json"
            for name in ("alignment", "evaluation_sets", "scores", "this_seed", "training")
        ),
    }
    assert made["outs"] == [f"{reporting}/ledger.html", f"{reporting}/ledger.json"]


def test_a_recipe_that_is_not_there_is_named(stages):
    with pytest.raises(UserError, match=r"--env nothing: there is no recipe 'nothing'"):
        stages("nothing")


def imports_of(name):
    """Return the modules that a module imports, each name looked up where Python finds it
    defined.
    """
    module = import_module(name)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    guards = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    apart = {id(inner) for guard in guards for inner in ast.walk(guard)}
    for node in ast.walk(tree):
        if id(node) in apart:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("dcr."))
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), module.__package__)
            if base.partition(".")[0] == "dcr":
                yield from (defined_in(base, alias.name) for alias in node.names)


def defined_in(base, name):
    """Return the module that defines what a module imports from ``base``."""
    try:
        return import_module(f"{base}.{name}").__name__
    except ModuleNotFoundError:
        module = import_module(base)
    if not hasattr(module, "__path__"):
        return base
    value = getattr(module, name)
    homes = [
        other
        for other, found in list(sys.modules.items())
        if other.startswith("dcr.")
        and vars(found).get(name) is value
        and re.search(rf"^{name}(: .+)? = ", inspect.getsource(found), re.MULTILINE)
    ]
    return value.__module__ if inspect.isclass(value) or inspect.isroutine(value) else homes[0]


def test_the_sources_of_a_stage_are_what_its_nodes_and_datasets_import_one_by_the_other():
    """Read from Python's own modules, and by nothing that `make_dvc` reads them with."""
    recipe = Recipe("demo", str(CONF), PROJECT)
    package, pipelines = PROJECT / "src/dcr", register_pipelines()
    started = {
        "dcr.training.distributed.launcher": {
            "dcr.training.distributed.agent",
            "dcr.training.distributed.worker",
        },
    }
    # What is found by lying in a folder: signals, families of backbones, and how they are written.
    listing = {
        "dcr.losses.signals": "losses",
        "dcr.models.backbones.families": "models/backbones/families",
        "dcr.models.backbones.forms": "models/backbones/forms",
    }
    for lister, folder in listing.items():
        room = f"dcr.{folder.replace('/', '.')}"
        started[lister] = {f"{room}.{path.stem}" for path in (package / folder).glob("[a-z]*.py")}
    for name, stage in yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].items():
        nodes = pipelines[name].nodes
        waiting = {node.func.__module__.replace(".nodes", ".pipeline") for node in nodes}
        entries = {entry for node in nodes for entry in [*node.inputs, *node.outputs]}
        waiting |= {module for entry in entries for module in recipe.modules(entry)}
        seen = set()
        while waiting:
            module = waiting.pop()
            seen.add(module)
            waiting |= {*imports_of(module), *started.get(module, ())} - seen
        expected = {Path(import_module(module).__file__) for module in seen}
        if "dcr.pages" in seen:
            texts = [path.read_text(encoding="utf-8") for path in expected]
            rooms = ("dcr.pages", "dcr.positives", "dcr.reporting", "dcr.sweep", "dcr.validation")
            filled = [
                package.parent / room.replace(".", "/")
                for room in rooms
                if any(f'"{room}"' in t for t in texts)
            ]
            expected |= {path for room in filled for path in room.glob("templates/*")}
        listed = [PROJECT / dep for dep in stage["deps"] if dep.startswith("src/")]
        assert all(path.is_relative_to(package) for path in listed)
        files = {
            file for path in listed for file in ([path] if path.is_file() else path.rglob("*"))
        }
        assert {f for f in files if f.is_file() and "__pycache__" not in f.parts} == expected, name


def test_a_task_of_mteb_by_its_name_alone_is_no_path():
    sets = [
        {"kind": "mieb", "path": "CIFAR10ZeroShot"},
        {"kind": "mieb", "path": "/data/mieb/CIFAR10ZeroShot"},
        {"kind": "segmentation", "path": "VOC2012"},
    ]
    assert data_paths({"sets": sets}) == ["/data/mieb/CIFAR10ZeroShot", "VOC2012"]
