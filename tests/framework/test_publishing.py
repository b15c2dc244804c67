"""`kedro publish`: the export that the recipe's records tell of, and no other."""

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, snapshot_download
from kedro.framework.project import configure_project, settings
from PIL import Image

import belonging
from dcr.errors import UserError
from dcr.export.folder import write_encoder
from dcr.framework.publishing import current_card, publish_encoder
from dcr.locks import LOCK
from dcr.models.backbones import load_backbone
from dcr.models.encoder import load_encoder
from dcr.parameters import build_parameters
from hub_server import TOKEN, hub_server, point_client_at
from models import tiny_open_clip
from project import copy_project

BACKBONE = "local-dir:base"
RECIPE = f"recipe: own\nextends: smoke\nbackbone: {BACKBONE}\n"
SCORES = {name: {"zero_shot": {"acc1": value}} for name, value in (("base", 0.5), ("dcr", 0.4))}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A project with the records of a training and an evaluation, and the folder exported then."""
    project = copy_project(tmp_path_factory.mktemp("publishing") / "project")
    (project / "conf/own").mkdir()
    (project / "conf/own/globals.yml").write_text(RECIPE)
    alignment = project / "conf/own/parameters_alignment.yml"
    alignment.write_text(yaml.safe_dump({"alignment": {"form": "none"}}))
    configure_project("dcr")
    tiny_open_clip(project / "base")
    export(project)
    return project


def export(project, params=None):
    """Leave what training, evaluation and export with these parameters leave."""
    backbone = load_backbone(f"local-dir:{project / 'base'}")
    with settings.SESSION_CLASS.create(project, env="own", runtime_params=params) as session:
        context = session.load_context()
        catalog = context.catalog
        sections = build_parameters(context.config_loader["parameters"])
        save_records(catalog, sections, backbone)
        card = current_card(catalog)
        files = {"backbone": backbone, "adapter": None, "card": card}
        catalog.save("encoder", lambda folder: write_encoder(folder, **files))


def save_records(catalog, sections, backbone, scores=SCORES):
    """What training, validation and evaluation leave."""
    trained = belonging.training_record(sections["training"], backbone, {"dcr": {}})
    tables = {"scores": scores, "intervals": {name: {} for name in scores}, "comparisons": {}}
    records = {
        "training_record": trained,
        "validation_summary": {"samples": 3, "accepted_sha256": belonging.SAMPLES},
        "this_seed": belonging.this_seed(sections["evaluation"], trained, **tables),
        "evaluation_sets": [{"dataset": "birds", "benchmarks": ["zero_shot"]}],
        "data_card_record": {"accepted_sha256": belonging.SAMPLES, "licence": "cc0"},
        **tables,
    }
    for name, record in records.items():
        catalog.save(name, record)


@pytest.fixture
def project(exported, tmp_path, monkeypatch):
    folder = shutil.copytree(exported, tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


def listed(params=None):
    return publish_encoder("own", None, params or {}, "lab/clip", private=False, dry_run=True)


def test_a_dry_run_lists_the_folders_own_files_with_sizes_and_asks_nobody(project):
    told = listed()
    assert told.endswith("would go to lab/clip@main; nothing was sent")
    names = [line.split()[-1] for line in told.splitlines()[:-2]]
    folder = project / "data/06_models/own/encoder"
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(names) == there - {".dcr.sha256"}
    assert "README.md" in names
    assert f" MB  in {len(names)} files" in told


def test_files_that_are_not_on_the_list_stay_here(project):
    (project / "data/06_models/own/encoder/secrets.env").write_text("KEY=1")
    assert "secrets.env" not in listed()


def damage(change):
    """A change to the folder, by name."""

    def change_file(folder):
        (folder / "README.md").write_text("# Another card")

    def remove(folder):
        (folder / "config.json").unlink()

    def link(folder):
        shutil.move(folder / "config.json", folder.parent / "config.json")
        (folder / "config.json").symlink_to(folder.parent / "config.json")

    def lead_out(folder):
        (folder.parent / "other").write_text("")
        with open(folder / ".dcr.sha256", "a") as record:
            record.write(f"{'0' * 64}  ../other\n")

    def unlist(folder):
        (folder / ".dcr.sha256").unlink()

    return {
        "changed": (change_file, "README.md is not there as this project made it"),
        "missing": (remove, "config.json is not there as this project made it"),
        "a link": (link, "config.json leads out of it, or is a link"),
        "outside": (lead_out, "../other leads out of it, or is a link"),
        "without a list": (unlist, "has no list of its files, .dcr.sha256"),
    }[change]


@pytest.mark.parametrize("change", ["changed", "missing", "a link", "outside", "without a list"])
def test_a_folder_that_is_not_as_export_left_it_is_refused(project, change):
    act, sentence = damage(change)
    act(project / "data/06_models/own/encoder")
    with pytest.raises(UserError, match=f"{sentence}.*; run `kedro run --pipelines export`"):
        listed()


def test_an_export_of_earlier_scores_is_stale(project):
    with settings.SESSION_CLASS.create(project, env="own") as session:
        context = session.load_context()
        sections = build_parameters(context.config_loader["parameters"])
        backbone = load_backbone(f"local-dir:{project / 'base'}")
        better = SCORES | {"dcr": {"zero_shot": {"acc1": 0.6}}}
        save_records(context.catalog, sections, backbone, better)
    with pytest.raises(UserError, match=r"exported before the last training or evaluation.*; run"):
        listed()


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"recipe": {"licence": "mit"}}, "licence"),
        ({"recipe": {"backbone": "org/other@main"}}, "base_model"),
        ({"export": {"dtype": "float16"}}, "files"),
        ({"export": {"vision_only": False}}, "files"),
        ({"export": {"hub_benchmarks": {"zero_shot.acc1": "org/birds/x"}}}, "leaderboards"),
    ],
)
def test_an_export_of_another_recipe_than_the_present_one_is_stale(project, params, told):
    with pytest.raises(UserError, match=rf"its card tells of other {told}; run `kedro run"):
        listed(params)


@pytest.mark.parametrize(
    ("name", "record", "told"),
    [
        ("models", {"backbone": {"source": BACKBONE, "revision": "c0ffee"}}, "base_revision"),
        ("data_card_record", {"licence": "of somebody"}, "data"),
        ("evaluation_sets", [{"dataset": "fish", "benchmarks": ["zero_shot"]}], "sets"),
    ],
)
def test_an_export_of_earlier_records_is_stale(project, name, record, told):
    with settings.SESSION_CLASS.create(project, env="own") as session:
        session.load_context().catalog.save(name, record)
    with pytest.raises(UserError, match=rf"its card tells of other {told}; run `kedro run"):
        listed()


def test_what_was_made_with_other_parameters_is_published_with_the_same(project):
    export(project, {"training": {"seed": 4}})
    with pytest.raises(UserError, match=r"training.seed 4, the recipe says 0; .*--params"):
        listed()
    assert listed({"training": {"seed": 4}}).endswith("nothing was sent")
    done = command(project, "--dry-run", "--params", "training.seed=4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("nothing was sent\n")


@pytest.mark.parametrize("layer", ["06_models", "08_reporting"])
def test_a_folder_that_a_run_writes_now_is_not_published(project, layer):
    with holding(project / "data" / layer / "own"):
        done = command(project, "--dry-run")
    assert done.returncode == 1
    assert f"{layer}/own is in use by another run" in done.stderr


def test_no_run_can_write_the_folder_before_the_hub_has_all_of_it(project, monkeypatch):
    models = project / "data" / "06_models" / "own"
    refused = []

    def publish(files, *_):
        """Look at the files as the hub's client does, while a run wants to begin."""
        assert all(path.is_file() for path in files.values())
        with pytest.raises(BlockingIOError), holding(models):
            pass
        refused.append(models)
        raise UserError("the connection failed")

    monkeypatch.setattr("dcr.export.publishing.publish", publish)
    with pytest.raises(UserError, match="the connection failed"):
        publish_encoder("own", None, {}, "lab/clip", private=False, dry_run=False)
    assert refused == [models]
    with holding(models):  # it is free again
        pass


@contextmanager
def holding(folder):
    """Hold a folder as a run that writes it does."""
    with open(folder / LOCK, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def test_without_an_export_the_command_names_the_pipeline(project):
    shutil.rmtree(project / "data/06_models/own/encoder")
    done = command(project, "--dry-run")
    assert done.returncode == 1
    assert "make it with `kedro run --env own --pipelines export`" in done.stderr
    assert "Traceback" not in done.stderr


def command(project, *options, hub=None):
    here = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN} if hub else {}
    return subprocess.run(
        [sys.executable, "-m", "dcr", "publish", "--env", "own", "--to", "lab/clip", *options],
        cwd=project,
        env={**os.environ, **here, "HF_HUB_DISABLE_XET": "1", "COLUMNS": "400"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_what_the_command_publishes_is_the_encoder_that_others_download(
    project, tmp_path, monkeypatch
):
    with hub_server() as hub:
        done = command(project, "--private", hub=hub)
        assert done.returncode == 0, done.stderr
        assert f"published: {hub.endpoint}/lab/clip/commit/" in done.stdout
        assert hub.messages == ["Encoder of recipe own, method dcr"]
        assert hub.repositories["lab/clip"].private
        point_client_at(hub.endpoint, monkeypatch)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        again = publish_encoder("own", None, {}, "lab/clip", private=True, dry_run=False)
        assert "nothing has changed, no commit was made: " in again
        downloaded = snapshot_download("lab/clip", cache_dir=tmp_path / "cache")
    picture = [Image.new("RGB", (40, 30), "teal")]
    features = [
        load_encoder(folder).encode_image(picture)
        for folder in (project / "data/06_models/own/encoder", downloaded)
    ]
    assert torch.equal(*features)
    (result,) = ModelCard.load(f"{downloaded}/README.md").data.eval_results
    assert (result.dataset_name, result.metric_type, result.metric_value) == ("birds", "acc1", 0.4)
