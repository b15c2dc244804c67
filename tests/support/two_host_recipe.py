"""A recipe that two hosts share, a process on each, and what one host made of it."""

from __future__ import annotations

import shutil
from pathlib import Path

from corpus import encode
from dcr.data.shards import Sample, write_shard
from project import PROJECT, copy_project, run

ENV = "two"
NUM_SHARDS = 40
_GLOBALS = "extends: smoke\nrecipe: two\nshards: shards\n"
_ALIGNMENT = "alignment: {form: none}\n"
_REPORTING = "reporting: {rivals: []}\n"
_TRAINING = """
training:
  baselines: []
  stage2_seeds: []
  phases: {dcr: [{objective: dcr}]}
  checkpoints: {every_steps: 1}
  stage1: {max_train_steps: 12, train_batch_size: 4}
  stage2: {max_train_steps: 12, train_batch_size: 4}
  processes: {num_hosts: 2}
"""
ON_ONE_HOST = "training.processes.num_hosts=1,training.processes.num_processes=2"
"""Parameters by which one host trains in as many processes as two hosts of one."""

_MADE = {
    "validation": (
        "data/02_intermediate/two/samples/*.parquet",
        "data/03_primary/two/manifest.parquet",
    ),
    "latents": ("data/05_model_input/two/latents/*.tar",),
    "training": (
        "data/06_models/two/*.safetensors",
        "data/06_models/two/adapters/*.safetensors",
    ),
    "embedding": ("data/04_feature/two/evaluation/*.safetensors",),
}


def write_project(folder: Path) -> Path:
    """Write a project with models and sets of the smallest recipe, and shards of its own."""
    copy_project(folder)
    shutil.copytree(PROJECT / "deploy", folder / "deploy")
    run("kedro", "run", "--env", "smoke", "--pipelines", "scenes", cwd=folder)
    (folder / "conf/two").mkdir()
    (folder / "conf/two/globals.yml").write_text(_GLOBALS)
    (folder / "conf/two/parameters_alignment.yml").write_text(_ALIGNMENT)
    (folder / "conf/two/parameters_reporting.yml").write_text(_REPORTING)
    (folder / "conf/two/parameters_training.yml").write_text(_TRAINING)
    for shard in range(NUM_SHARDS):
        numbers = range(6 * shard, 6 * shard + 6)
        samples = [
            Sample(f"{i:09d}", encode((320, 320), i), "jpg", f"picture {i}") for i in numbers
        ]
        write_shard(folder / "shards", f"{shard:05d}", samples)
    return folder


def finish_on_one_host(folder: Path) -> Path:
    """Run the recipe's steps on one host, training in two processes."""
    for step in ("validation", "latents", "training", "alignment", "embedding"):
        params = ["--params", ON_ONE_HOST] if step not in ("validation", "latents") else []
        run("python", "deploy/run.py", step, "--env", ENV, *params, cwd=folder)
    return folder


def num_made(folder: Path, step: str) -> int:
    """Return how many files of a step's first kind there are."""
    return len(list(folder.glob(_MADE[step][0])))


def assert_same(folder: Path, other: Path, step: str, among_others: bool = False) -> None:
    """Compare what a step made in two projects, by name and bytes.

    Args:
        folder, other: the projects.
        step: its pipeline.
        among_others: whether the first one may have more files.
    """
    for pattern in _MADE[step]:
        found = {path.relative_to(folder): path for path in folder.glob(pattern)}
        expected = {path.relative_to(other): path for path in other.glob(pattern)}
        assert found.keys() >= expected.keys() if among_others else found.keys() == expected.keys()
        assert expected
        different = [
            str(name)
            for name in expected
            if found[name].read_bytes() != expected[name].read_bytes()
        ]
        assert different == []
