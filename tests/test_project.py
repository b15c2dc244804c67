"""The whole project as a user runs it: every pipeline on the smallest recipe, and what goes
wrong in it.
"""

import json
import re
import shutil
import tarfile

import pytest
from safetensors import safe_open

from dcr.encoder_names import unaligned_name
from project import run

pytestmark = pytest.mark.xdist_group("smoke")

REPORTING = "data/08_reporting/smoke"


@pytest.fixture
def project(smoke_project, tmp_path):
    """A finished smoke run that a test may spoil."""
    return shutil.copytree(smoke_project, tmp_path / "project")


def error_of(project, *arguments):
    """Run Kedro, expect exit code 1, and return the one sentence that it ends with."""
    result = run("kedro", "run", "--env", "smoke", *arguments, cwd=project, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stdout + result.stderr
    return result.stderr.strip().splitlines()[-1]


def test_a_run_leaves_what_others_rely_on(smoke_project):
    reporting = smoke_project / REPORTING
    for name in ("report.html", "validation.html", "eval_results.jsonl"):
        assert (reporting / name).stat().st_size > 1000, name
    scores = json.loads((reporting / "scores.json").read_text())
    methods = ("dcr", "reconstruction", "naive")
    names = [*methods, *(f"{method}@1" for method in methods)]
    assert set(scores) == {"base", "base_aligned", *names, *map(unaligned_name, names)}
    assert all(
        {"mmvp_vlm", "clustering", "zero_shot", "probes"} <= set(benchmarks)
        for benchmarks in scores.values()
    )
    summary = json.loads((reporting / "validation.json").read_text())
    counts = {"shards", "sources", "samples", "accepted", "rejected", "unreadable_bytes"}
    assert set(summary) == {*counts, "reasons", "accepted_sha256"}
    assert summary["accepted"] + summary["rejected"] == summary["samples"] == 64


def test_no_page_card_or_score_tells_where_the_project_lies(smoke_project):
    """What is handed on names files as the recipe does, and nothing of the machine."""
    encoder = smoke_project / "data/06_models/smoke/encoder"
    told = [path for path in (smoke_project / REPORTING).rglob("*") if path.is_file()]
    told += [path for path in encoder.rglob("*") if path.suffix in (".md", ".json", ".yaml")]
    assert len(told) > 20
    place = str(smoke_project).encode()
    assert [path.name for path in told if place in path.read_bytes()] == []
    sets = json.loads((smoke_project / REPORTING / "evaluation_sets.json").read_text())
    assert {one["folder"].rpartition("/")[0] for one in sets} == {"data/01_raw/smoke/sets"}


def test_the_encoder_opens_in_every_library(smoke_project):
    import open_clip
    import torch
    from transformers import CLIPModel, CLIPVisionModel

    from dcr import load_encoder
    from models import images

    folder = smoke_project / "data/06_models/smoke/encoder"
    features = load_encoder(folder).encode_image(images())
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    pixels = torch.stack([preprocess(image) for image in images()])
    with torch.no_grad():
        assert torch.allclose(model.eval().encode_image(pixels), features, atol=1e-4)
        hf = CLIPModel.from_pretrained(folder).eval().get_image_features(pixels)
        hf = getattr(hf, "pooler_output", hf)
        assert torch.allclose(hf, features, atol=1e-4)
        assert (
            CLIPVisionModel.from_pretrained(folder)(pixels, output_hidden_states=True)
            .hidden_states[-2]
            .ndim
            == 3
        )


def test_the_report_opens_offline(smoke_project):
    """No address is loaded: neither scripts nor styles nor pictures come from elsewhere."""
    for name in ("report.html", "validation.html"):
        page = (smoke_project / REPORTING / name).read_text()
        assert (
            re.findall(
                r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["'](?!data:|#)[^"']+""", page
            )
            == []
        )


def test_a_second_training_gives_the_same_scores_bit_for_bit(project):
    first = (project / REPORTING / "scores.json").read_bytes()
    weights = (project / "data/06_models/smoke/encoder/model.safetensors").read_bytes()
    anew = ("--params", "training.checkpoints.resume_from=none")
    run(
        "kedro",
        "run",
        "--env",
        "smoke",
        "--pipelines",
        "training,alignment,evaluation",
        *anew,
        cwd=project,
    )
    assert (project / "data/06_models/smoke/encoder/model.safetensors").read_bytes() == weights
    assert (project / REPORTING / "scores.json").read_bytes() == first


def test_scenes_run_again_change_no_byte_and_train_nothing(project):
    def contents(*folders):
        return {p: p.read_bytes() for f in folders for p in (project / f).rglob("*") if p.is_file()}

    folders = ("data/01_raw", "data/06_models/smoke/base")
    before = contents(*folders)
    output = run("kedro", "run", "--env", "smoke", "--pipelines", "scenes", cwd=project)
    assert contents(*folders) == before
    assert "step/s" not in output.stderr


@pytest.mark.parametrize(
    ("pipeline", "missing", "command"),
    [
        ("validation", "data/01_raw/smoke/shards", "kedro run --env smoke --pipelines scenes"),
        (
            "latents",
            "data/03_primary/smoke/manifest.parquet",
            "kedro run --env smoke --pipelines validation",
        ),
        (
            "training",
            "data/05_model_input/smoke/latents",
            "kedro run --env smoke --pipelines latents",
        ),
        (
            "evaluation",
            "data/06_models/smoke/adapters",
            "kedro run --env smoke --pipelines training",
        ),
        (
            "evaluation",
            "data/01_raw/smoke/sets/mmvp_vlm",
            "kedro run --env smoke --pipelines scenes",
        ),
        (
            "reporting",
            "data/08_reporting/smoke/scores.json",
            "kedro run --env smoke --pipelines evaluation",
        ),
    ],
)
def test_a_step_without_its_input_names_the_command_that_makes_it(
    project, pipeline, missing, command
):
    path = project / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert command in error_of(project, "--pipelines", pipeline)


def test_a_broken_evaluation_set_is_named_and_the_others_are_scored(project):
    image = next((project / "data/01_raw/smoke/sets/mmvp_vlm/MLLM_VLM Images").glob("*/4.jpg"))
    image.unlink()
    (project / REPORTING / "scores.json").unlink()
    told = error_of(project, "--pipelines", "evaluation")
    assert told.startswith("Error: not evaluated: mmvp_vlm: the image of question 4 is missing: ")
    assert f"{image.relative_to(project)} does not exist" in told
    scores = json.loads((project / REPORTING / "scores.json").read_text())
    assert {"clustering", "zero_shot", "retrieval"} <= set(scores["dcr"])
    assert "mmvp_vlm" not in scores["dcr"]


def test_processes_that_torchrun_starts_embed_what_one_process_embeds(project):
    """Two at once, each its parts, with every encoder: the same files, byte for byte."""

    def image_embeddings():
        found = {}
        for path in (project / "data/04_feature/smoke/evaluation").glob("*.safetensors"):
            with safe_open(path, "np") as file:
                if file.metadata()["description"].startswith("images"):
                    found[path.name] = path.read_bytes()
        return found

    before = image_embeddings()
    shutil.rmtree(project / "data/04_feature")
    torchrun = ("torchrun", "--nproc-per-node", "2", "--standalone", "-m", "dcr")
    run(*torchrun, "--env", "smoke", "--pipelines", "embedding", cwd=project)
    assert image_embeddings() == before != {}


def test_processes_that_torchrun_starts_encode_what_one_process_encodes(project):
    """Two at once, each its shards: the same latents, byte for byte."""
    latents = project / "data/05_model_input/smoke/latents"
    before = {path.name: path.read_bytes() for path in latents.iterdir()}
    assert len(list(latents.glob("*.tar"))) > 1
    shutil.rmtree(latents)
    torchrun = ("torchrun", "--nproc-per-node", "2", "--standalone", "-m", "dcr")
    run(*torchrun, "--env", "smoke", "--pipelines", "latents", cwd=project)
    assert {path.name: path.read_bytes() for path in latents.iterdir()} == before


def test_an_empty_shard_is_named(project):
    with tarfile.open(project / "data/01_raw/smoke/shards/00001.tar", "w"):
        pass
    assert "00001" in error_of(project, "--pipelines", "validation")


def test_a_tar_that_is_no_tar_is_named_and_no_manifest_stands(project):
    (project / "data/01_raw/smoke/shards/00000.tar").write_bytes(b"not a tar" * 1000)
    latents = {
        path: path.read_bytes()
        for path in (project / "data/05_model_input/smoke/latents").iterdir()
    }
    assert "00000" in error_of(project, "--pipelines", "validation")
    assert "manifest.parquet does not exist" in error_of(project, "--pipelines", "latents")
    assert {path: path.read_bytes() for path in latents} == latents


@pytest.mark.parametrize(
    "config",
    [
        "base/clip/open_clip_config.json",
        "base/diffusion/unet/config.json",
        "base/diffusion/scheduler",
    ],
)
def test_a_model_folder_without_a_config_is_named(project, config):
    path = project / "data/06_models/smoke" / config
    encoder = (project / "data/06_models/smoke/encoder/model.safetensors").read_bytes()
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "config" in error_of(project, "--pipelines", "training")
    assert (project / "data/06_models/smoke/encoder/model.safetensors").read_bytes() == encoder


def test_a_clone_at_another_place_with_compiled_modules_finds_all_that_is_finished(project):
    """Nothing is trained, encoded, measured or evaluated again, and no cache gets a second name
    for the same thing.
    """
    caches = ("02_intermediate", "04_feature", "05_model_input", "06_models/smoke/checkpoints")
    for part in ("training", "evaluation", "metrics", "data/benchmark_sets", "latents"):
        (project / f"src/dcr/{part}/__pycache__").mkdir(exist_ok=True)
        (project / f"src/dcr/{part}/__pycache__/other.cpython-399.pyc").write_bytes(
            b"compiled elsewhere"
        )

    def files():
        found = [
            path
            for cache in caches
            for path in (project / "data" / cache).rglob("*")
            if path.is_file()
        ]
        # A list and a lock, made anew.
        made = [path for path in found if path.name not in ("plan.json", ".dcr.lock")]
        return {str(path.relative_to(project)): path.stat().st_mtime_ns for path in made}

    before = files()
    result = run(
        "kedro",
        "run",
        "--env",
        "smoke",
        "--pipelines",
        "latents,training,alignment,evaluation",
        cwd=project,
    )
    assert {name for name, time in files().items() if before.get(name) != time} == set()
    # Stage 1; two seeds of phases.
    assert result.stderr.count("is finished, taken from") == 1 + 2 * (2 + 1 + 1)


STAGES = (
    "scenes",
    "validation",
    "latents",
    "training",
    "alignment",
    "evaluation",
    "export",
    "reporting",
)


def changed(project):
    """Return the stages that DVC would run again for something that they read, not for what
    others would write.
    """
    status = json.loads(run("dvc", "status", "--json", cwd=project).stdout)
    return {stage for stage in STAGES if stage in status}


def changed_by(project, name, old, new):
    """Return the stages that an edit makes DVC run, and take it back."""
    path = project / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = changed(project)
    path.write_text(text)
    return found


def test_dvc_repeats_only_what_changed_and_carries_data_to_another_clone(smoke_project, tmp_path):
    """A finished run is DVC's as it stands; then a changed training parameter, and through a
    folder as remote.
    """
    project = shutil.copytree(smoke_project, tmp_path / "project")
    run("kedro", "make-dvc", "--env", "smoke", "--output", "dvc.yaml", cwd=project)
    (project / ".gitignore").write_text("/data/*\n__pycache__/\n")
    run("git", "init", "-q", cwd=project)
    run("dvc", "init", "-q", cwd=project)
    run("dvc", "config", "core.analytics", "false", cwd=project)

    run("dvc", "commit", "--force", cwd=project)
    assert "Running stage" not in run("dvc", "repro", cwd=project).stdout
    assert "scores.json" in run("dvc", "metrics", "show", cwd=project).stdout
    run("dvc", "plots", "show", "--out", "plots", cwd=project)
    assert "vega" in (project / "plots" / "index.html").read_text().lower()

    assert changed_by(project, "conf/base/globals.yml", "device: auto", "device: cpu") == {
        "scenes", "latents", "training", "alignment", "evaluation", "export", "reporting",
    }  # fmt: skip
    assert changed_by(
        project, "conf/base/expectations.yml", "max_value: 245", "max_value: 244"
    ) == {"validation"}
    assert changed_by(project, "src/dcr/losses/infonce.py", '"""', '"""Edited. ') >= {"training"}
    (project / "conf/smoke/catalog_new.yml").write_text("{}")
    assert changed(project) == set(STAGES)
    (project / "conf/smoke/catalog_new.yml").unlink()

    parameters = project / "conf/base/parameters_training.yml"
    parameters.write_text(parameters.read_text().replace("temperature: 0.1", "temperature: 0.2"))
    output = run("dvc", "repro", cwd=project).stdout
    ran = re.findall(r"Running stage '(\w+)'", output)
    assert ran == ["training", "alignment", "evaluation", "export", "reporting"]

    run("dvc", "remote", "add", "-d", "folder", str(tmp_path / "remote"), cwd=project)
    run("git", "add", "-A", cwd=project)
    run(
        "git",
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@example.org",
        "commit",
        "-qm",
        "run",
        cwd=project,
    )
    run("dvc", "push", "-q", cwd=project)
    clone = tmp_path / "clone"
    run("git", "clone", "-q", str(project), str(clone), cwd=tmp_path)
    run("dvc", "pull", "-q", cwd=clone)
    assert "Running stage" not in run("dvc", "repro", cwd=clone).stdout
    for name in ("data/06_models/smoke/encoder/model.safetensors", f"{REPORTING}/report.html"):
        assert (clone / name).read_bytes() == (project / name).read_bytes()
