"""Faults of disk and process while datasets are read and written: one sentence each, and what
was there stays whole.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
from contextlib import contextmanager, nullcontext

import click
import numpy as np
import pandas as pd
import pytest
import torch
from kedro.framework.project import configure_project
from kedro.io import DataCatalog
from kedro.pipeline import Node

from dcr.framework import edge
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.framework.hooks import Whereabouts
from dcr.settings import CONFIG_LOADER_ARGS
from project import PROJECT

NODE = Node(lambda x: x, "a", "b", name="a_node")
TABLE = pd.DataFrame({"a": np.arange(50_000), "b": 0.5})
LARGE = {
    "training_record": {"a": "x" * 300_000},
    "stage1_projector": {"w": torch.zeros(100_000)},
    "outcomes": TABLE,
}
LARGE |= {"report": "x" * 300_000, "losses": {"stage1": TABLE}, "models": {"a": "x" * 300_000}}
FILES = {
    "training_record": "data/08_reporting/smoke/training.json",
    "stage1_projector": "data/06_models/smoke/stage1_projector.safetensors",
    "outcomes": "data/07_model_output/smoke/outcomes.parquet",
    "manifest": "data/03_primary/smoke/manifest.parquet",
    "losses": "data/08_reporting/smoke/losses/stage1.csv",
    "radar_plot": "data/08_reporting/smoke/figures/radar.json",
}
BROKEN = {"empty": b"", "half": b'{"a": [1, 2', "noise": bytes(range(256)) * 4}


@pytest.fixture
def catalog(tmp_path, monkeypatch):
    """The smoke recipe's catalog in an empty folder."""
    monkeypatch.chdir(tmp_path)
    configure_project("dcr")
    loader = RecipeConfigLoader(str(PROJECT / "conf"), env="smoke", **CONFIG_LOADER_ARGS)
    return DataCatalog.from_config(loader["catalog"])


def told(catalog, name, act, fault=nullcontext):
    """Read or write a dataset as a run does, under the fault, and return the sentence that it
    ends with.
    """
    hook = Whereabouts()
    hook.before_pipeline_run({"env": "smoke"}, catalog)
    if act == "save":
        hook.before_dataset_saved(name, NODE)
    else:
        hook.before_dataset_loaded(name, NODE)
    with pytest.raises(click.ClickException) as caught, edge.told(), fault():
        if act == "save":
            catalog.save(name, LARGE[name])
        else:
            loaded = catalog.load(name)
            for load in loaded.values() if name == "losses" else ():
                load()
    assert caught.value.exit_code == 1
    sentence = caught.value.message
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


@contextmanager
def limit(kind, soft):
    """Lower a limit of this process."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


@contextmanager
def no_more_files():
    """Let this process open no further file."""
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(3)]
    with limit(resource.RLIMIT_NOFILE, max(held)):
        yield
    for descriptor in held:
        os.close(descriptor)


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_artefact_is_named_with_what_makes_it(catalog, tmp_path, torture, name, broken):
    path = tmp_path / FILES[name]
    path.parent.mkdir(parents=True)
    path.write_bytes(BROKEN[broken])
    if name == "losses" and broken != "empty":
        pytest.skip("any text is a table")
    sentence = told(catalog, name, "load")
    assert path.name in sentence
    assert "kedro run" in sentence
    torture.count("faults", 1)


@pytest.mark.parametrize("name", LARGE)
def test_a_limit_of_file_size_leaves_what_was_there(catalog, tmp_path, torture, name):
    small = {"a": "b"} if name in ("training_record", "models") else LARGE[name]
    catalog.save(name, small)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    sentence = told(catalog, name, "save", lambda: limit(resource.RLIMIT_FSIZE, 4096))
    assert "ulimit -f" in sentence
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    torture.count("faults", 1)


@pytest.mark.parametrize("name", LARGE)
def test_too_many_open_files(catalog, torture, name):
    sentence = told(catalog, name, "save", no_more_files)
    assert "ulimit -n" in sentence
    torture.count("faults", 1)


@pytest.mark.parametrize("name", LARGE)
def test_a_file_where_a_folder_is_due(catalog, tmp_path, torture, name):
    (tmp_path / "data").write_text("a file")
    assert "file where a folder is needed" in told(catalog, name, "save") or "in its place" in told(
        catalog, name, "save"
    )
    torture.count("faults", 1)


@pytest.mark.parametrize("name", ["training_record", "stage1_projector"])
def test_a_folder_where_a_file_is_due(catalog, tmp_path, torture, name):
    (tmp_path / FILES[name] / "inside").mkdir(parents=True)
    assert (tmp_path / FILES[name]).name in told(catalog, name, "load")
    torture.count("faults", 1)


@pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("mount"), reason="needs the right to mount"
)
@pytest.mark.parametrize(
    ("options", "words"), [("size=64k", "the disk is full"), ("ro", "read-only")]
)
@pytest.mark.parametrize("name", LARGE)
def test_a_small_or_read_only_disk(catalog, tmp_path, torture, name, options, words):
    (tmp_path / "data").mkdir()
    if os.system(f"mount -t tmpfs -o {options} tmpfs {tmp_path}/data 2>/dev/null"):
        pytest.skip("mounting is not allowed here")
    try:
        assert words in told(catalog, name, "save")
    finally:
        os.system(f"umount -l {tmp_path}/data")
    torture.count("faults", 1)


def die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_worker_of_loky(torture):
    from joblib import Parallel, delayed

    with pytest.raises(click.ClickException, match="a worker process was killed"), edge.told():
        Parallel(n_jobs=2)(delayed(die)(number) for number in range(2))
    torture.count("faults", 1)


class Dying(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        die(index)


class Failing(Dying):
    def __getitem__(self, index):
        raise OSError(24, "Too many open files", "shard.tar")


@pytest.mark.parametrize(
    ("data", "words"), [(Dying(), "a loader process was killed"), (Failing(), "ulimit -n")]
)
def test_a_loaders_process_that_is_killed_or_fails(torture, data, words):
    with pytest.raises(click.ClickException, match=words), edge.told():
        list(torch.utils.data.DataLoader(data, num_workers=1))
    torture.count("faults", 1)
