"""What a run may write is asked before it works: nothing of the user's is touched, and no other
run is in the way.
"""

import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
import yaml
from kedro.framework.project import pipelines
from kedro.framework.startup import bootstrap_project

from benchmark_folders import write_classification, write_mmvp, write_retrieval
from corpus import good_samples
from dcr.data.shards import write_shard
from dcr.errors import UserError
from dcr.framework.session import RecipeSession
from models import tiny_hf_clip
from project import PROJECT, copy_project

KEYS = (
    "shards",
    "backbone",
    "diffusion",
    "mmvp_vlm",
    "classification",
    "retrieval",
    "expectations",
    "published",
)
FILES = ("expectations", "published")
PIPELINES = (
    "scenes",
    "scenes_validation",
    "ingest",
    "validation",
    "likeness",
    "latents",
    "verify",
    "synthesis",
    "training",
    "alignment",
    "embedding",
    "evaluation",
    "export",
    "reporting",
    "selection",
    "sweep",
    "ledger",
)


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """What a user has: shards, models and sets, each of a kind that the project could write
    itself.
    """
    folder = tmp_path_factory.mktemp("given")
    write_shard(folder / "shards", "00000", good_samples(8))
    tiny_hf_clip(folder / "backbone")
    for name in ("unet/config.json", "vae/config.json", "notes.txt"):
        (folder / "diffusion" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "diffusion" / name).write_text("{}")
    write_mmvp(folder / "mmvp_vlm")
    write_classification(folder / "classification")
    write_retrieval(folder / "retrieval")
    for name in FILES:
        shutil.copy(PROJECT / "conf" / "base" / f"{name}.yml", folder / name)
    write_classification(folder / "more")
    return folder


class Project:
    """A project of a recipe `mine`, run in this process."""

    def __init__(self, folder, monkeypatch):
        self.folder = copy_project(folder)
        monkeypatch.chdir(folder)
        bootstrap_project(folder)

    def name(self, **entries):
        """Write the recipe's globals.yml."""
        recipe = self.folder / "conf" / "mine"
        if not recipe.exists():
            shutil.copytree(self.folder / "conf" / "smoke", recipe)
        named = {
            "extends": "demo",
            "recipe": "mine",
            "pipelines": ["scenes", "validation"],
            "more_sets": [],
            **entries,
        }
        (recipe / "globals.yml").write_text(yaml.safe_dump(named))

    def run(self, *names):
        with RecipeSession.create(self.folder, env="mine", save_on_close=False) as session:
            session.run(list(names))

    def ends(self, *names):
        """Run and return the sentence that the run ends with, None if it gets through."""
        try:
            self.run(*names)
        except Exception as exc:
            while exc.__cause__ is not None and not isinstance(exc, UserError):
                exc = exc.__cause__
            return str(exc)
        return None


@pytest.fixture
def project(tmp_path, monkeypatch):
    yield Project(tmp_path / "project", monkeypatch)
    bootstrap_project(PROJECT)


def snapshot(folder):
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".dcr.lock"
    }


def test_every_pipeline_is_tried_here():
    bootstrap_project(PROJECT)
    # That one writes a record and the hub's cache.
    assert set(PIPELINES) == set(pipelines) - {"__default__", "models"}


@pytest.mark.parametrize(
    ("place", "tried"),
    [
        ("data/01_raw/mine", PIPELINES),
        ("elsewhere", ("scenes", "ingest", "validation")),
        ("links", ("scenes", "ingest", "validation")),
    ],
)
def test_what_a_recipe_names_is_the_same_after_every_pipeline(
    project, given, tmp_path, place, tried
):
    theirs = (
        project.folder / "data/01_raw/mine" if place.startswith("data") else tmp_path / "theirs"
    )
    shutil.copytree(given, theirs, dirs_exist_ok=True)
    named = theirs
    if place == "links":
        named = project.folder / "links"
        named.mkdir()
        for path in theirs.iterdir():
            (named / path.name).symlink_to(path)
    project.name(
        **{key: str(named / key) for key in KEYS},
        more_sets=[{"name": "more", "kind": "classification", "path": str(named / "more")}],
        more_encoders={"other": str(named / "backbone")},
    )
    before = snapshot(theirs)
    told = {name: project.ends(name) for name in tried}
    after = snapshot(theirs)
    # They are drawn at a place of their own, which may lie beside what the recipe names.
    for path in after.keys() - before.keys():
        assert path.relative_to(theirs).parts[0] in ("validation_sets", "validation_sets.json")
    assert {path: after.get(path) for path in before} == before
    assert "is not overwritten" in told["scenes"] or "no place to save" in told["scenes"]
    assert "shards is not overwritten: " in told["ingest"]
    assert (project.folder / "data/03_primary/mine/manifest.parquet").exists() == (
        told["validation"] is None
    )


@pytest.mark.parametrize("key", [key for key in KEYS if key not in FILES])
def test_each_path_alone_stops_scenes_before_it_draws(project, given, tmp_path, key):
    """All others are free, as in a recipe that names one thing of its own and inherits the rest."""
    shutil.copytree(given / key, tmp_path / "theirs")
    free = {name: str(tmp_path / "free" / name) for name in KEYS if name not in FILES}
    free["backbone"] = f"local-dir:{free['backbone']}"
    prefix = "local-dir:" if key == "backbone" else ""
    project.name(**free | {key: f"{prefix}{tmp_path / 'theirs'}"})
    assert f"{tmp_path / 'theirs'} is not overwritten: " in project.ends("scenes")
    assert snapshot(tmp_path / "theirs").keys() == {
        tmp_path / "theirs" / path.relative_to(given / key) for path in snapshot(given / key)
    }
    assert not (tmp_path / "free").exists()


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ({"backbone": "ViT-B-32/openai"}, "no place to save a model"),
        ({"backbone": "org/name"}, "no place to save a model"),
        ({"diffusion": "sd-2.1-base"}, "names a model of the hub"),
        ({"diffusion": "org/name@main"}, "names a model of the hub"),
        ({"shards": "data/*.tar"}, "name one folder"),
        ({"shards": ["a.tar", "b.tar"]}, "name one folder"),
        ({"shards": "s3://bucket/shards"}, "name one folder"),
    ],
)
def test_a_source_that_is_no_folder_stops_scenes_before_it_draws(project, named, words):
    base = "data/06_models/mine/base"
    project.name(**{"backbone": f"local-dir:{base}/clip", "diffusion": f"{base}/diffusion"} | named)
    assert words in project.ends("scenes")
    assert not list((project.folder / "data").rglob("*.tar"))
    assert not (project.folder / "sd-2.1-base").exists()


@pytest.mark.parametrize(
    ("key", "place", "pipeline"),
    [
        ("expectations", "data/08_reporting/mine/expectations.json", "validation"),
        ("published", "data/08_reporting/mine/ledger.json", "ledger"),
        ("shards", "data/05_model_input/mine/latents", "latents"),
        ("shards", "data/05_model_input/mine", "latents"),
        ("classification", "data/04_feature/mine/evaluation", "evaluation"),
        ("mmvp_vlm", "data/06_models/mine/checkpoints/runs", "training"),
        ("backbone", "data/06_models/mine/encoder", "export"),
    ],
)
def test_an_input_among_a_pipelines_outputs_is_refused(
    project, given, key, place, pipeline, monkeypatch
):
    """Those that replace no whole folder know their own files by name; what lies there may bear
    the same.
    """
    theirs = project.folder / place
    theirs.parent.mkdir(parents=True, exist_ok=True)
    copy = shutil.copytree if (given / key).is_dir() else shutil.copy
    copy(given / key, theirs)
    project.name(**{key: place})
    monkeypatch.setattr(
        "dcr.framework.hooks.InputsExist.before_pipeline_run", lambda *_, **__: None
    )
    before = theirs.read_bytes() if theirs.is_file() else snapshot(theirs)
    told = project.ends(pipeline)
    assert place in told
    assert "which this run would write over as" in told or "is not overwritten" in told
    assert (theirs.read_bytes() if theirs.is_file() else snapshot(theirs)) == before


def test_a_manifest_stands_only_while_validation_has_let_the_data_pass(project, given):
    shutil.copytree(given, project.folder / "given")
    project.name(**{key: str(project.folder / "given" / key) for key in KEYS})
    manifest = project.folder / "data/03_primary/mine/manifest.parquet"
    suite = project.folder / "conf" / "mine" / "parameters_validation.yml"
    assert project.ends("validation") is None, project.ends("validation")
    first = manifest.read_bytes()
    shards = project.folder / "given" / "shards"
    shutil.copy(shards / "00000.tar", shards / "kept")
    (shards / "00000.tar").write_bytes(b"no tar" * 1000)
    assert project.ends("validation")
    assert not manifest.exists()
    assert "manifest.parquet does not exist; make it with" in project.ends("latents")
    shutil.move(shards / "kept", shards / "00000.tar")
    assert project.ends("validation") is None
    assert manifest.read_bytes() == first
    suite.write_text("validation: {typo: 1}")
    assert "typo" in project.ends("validation")
    assert manifest.exists()  # no validation has begun


@contextmanager
def held(folder, shared):
    """Have another process hold a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    code = (
        f"from pathlib import Path; from dcr.locks import lock; lock(Path({str(folder)!r}),"
        f" shared={shared})"
    )
    command = [sys.executable, "-c", f"{code}; print('held', flush=True); input()"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        yield
        other.communicate("\n")


@pytest.mark.parametrize(
    ("layer", "shared", "goes"),
    [
        ("02_intermediate", False, False),  # validation writes there
        ("03_primary", True, False),
        ("05_model_input", False, True),  # and has nothing to do with this one
    ],
)
def test_a_run_over_folders_in_use_is_refused_and_leaves_them(project, given, layer, shared, goes):
    project.name(**{key: str(given / key) for key in KEYS})
    with held(project.folder / "data" / layer / "mine", shared):
        told = project.ends("validation")
    if goes:
        assert told is None
    else:
        assert f"{layer}/mine is in use by another run" in told
        assert project.ends("validation") is None


def test_readers_go_together_and_keep_writers_out(project, monkeypatch):
    """Locks of training's inputs, while another run reads them, and while another makes them."""
    project.name()
    monkeypatch.setattr(
        "dcr.framework.hooks.InputsExist.before_pipeline_run", lambda *_, **__: None
    )
    for shared in (True, False):
        with held(project.folder / "data/05_model_input/mine", shared):
            told = project.ends("training")
        assert ("05_model_input/mine is in use by another run" in told) == (not shared)


@pytest.mark.parametrize("how", ["torchrun", "parameters"])
def test_processes_that_share_the_work_share_the_locks(project, monkeypatch, how):
    project.name()
    monkeypatch.setattr(
        "dcr.framework.hooks.InputsExist.before_pipeline_run", lambda *_, **__: None
    )
    if how == "torchrun":
        for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
            monkeypatch.setenv(name, value)
    else:
        path = project.folder / "conf" / "mine" / "parameters_latents.yml"
        path.write_text(path.read_text() + "  num_ranks: 2\n")
    with held(project.folder / "data/05_model_input/mine", shared=True):
        told = project.ends("latents")
    assert "in use" not in told
