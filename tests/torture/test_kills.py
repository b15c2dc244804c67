"""A kill between any two file operations, or at any moment, of every pipeline: the next run
ends in the same bits.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from kedro.framework.startup import bootstrap_project

from corpus import encode
from dcr.encoder_names import unaligned_name
from dcr.evaluation.provenance import table_hashes
from dcr.replacing import is_temporary
from killing import import_all, run_pipelines
from project import PROJECT

pytestmark = pytest.mark.xdist_group("smoke")

PIPELINES = (
    "models",
    "scenes",
    "scenes_validation",
    "ingest",
    "validation",
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
REPORTING = ("08_reporting", "07_model_output")
QUICK = ("ingest", "latents", "export")
# What tells the time or how long something took: two undisturbed runs differ in it. Trackers begin
# anew with every run.
TIMES = re.compile(r"/state\.json$|/SHA256SUMS$|/(report|selection)\.html$")
TRACKERS = re.compile(r"/(tensorboard|dvclive)/")


@pytest.fixture(scope="module")
def whole(smoke_project, tmp_path_factory, request):
    """A project in which every pipeline has something to work on; runs are made in copies of it."""
    folder = shutil.copytree(smoke_project, tmp_path_factory.mktemp("kills") / "whole")
    for number in range(3):
        path = folder / "pictures" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode(seed=number))
    ingest = yaml.safe_load((folder / "conf/base/parameters_ingest.yml").read_text())
    ingest["ingest"] |= {"images": str(folder / "pictures"), "table": None}
    (folder / "conf/smoke/parameters_ingest.yml").write_text(yaml.safe_dump(ingest))
    finish_a_run_of_the_sweep(folder)
    if request.config.getoption("--torture"):
        for name in ("scenes_validation", "synthesis", "embedding", "sweep", "models"):
            import_all(run_pipelines(folder, "smoke", [name]).modules)
    yield folder
    bootstrap_project(PROJECT)


def finish_a_run_of_the_sweep(folder: Path) -> None:
    """Put the recipe's own run there as one of a sweep, which aligns nothing: its encoder is the
    one that training left.
    """
    reporting, tables = (folder / f"data/{layer}/smoke" for layer in REPORTING)
    trained, evaluated, scores = (
        json.loads((reporting / f"{name}.json").read_text())
        for name in ("training", "this_seed", "scores")
    )
    as_trained = {"base": "base", unaligned_name("dcr"): "dcr"}
    kept = {new: scores[old] for old, new in as_trained.items()}
    measured = pd.read_parquet(tables / "measurements.parquet")
    measured = measured[measured["encoder"].isin(list(as_trained))].reset_index(drop=True)
    measured["encoder"] = measured["encoder"].map(as_trained)
    evaluated["encoders"] = {new: evaluated["encoders"][old] for old, new in as_trained.items()}
    parameters = trained["parameters"]
    run = f"sweep/{parameters['signal.name']}-{parameters['seed']}"
    for layer in (reporting, tables):
        (layer / run).mkdir(parents=True)
    path = tables / run / "measurements.parquet"
    measured.to_parquet(path)
    written = {"scores": kept, "measurements": pd.read_parquet(path)}
    evaluated["tables"] = table_hashes(**written)
    files = {"training": trained, "this_seed": evaluated, "scores": kept}
    for name, content in files.items():
        (reporting / run / f"{name}.json").write_text(json.dumps(content))


def copy(whole: Path, target: Path) -> Path:
    """Copy a project; its data are links to the same bytes, which nobody may change in place."""
    ignore = shutil.ignore_patterns(".dcr.lock", "*.log")
    return shutil.copytree(whole, target, ignore=ignore, copy_function=os.link)


def forget(project: Path, pipeline: str) -> None:
    """Remove what a pipeline writes, so that it has all of its work before it."""
    data, reporting = project / "data", project / "data/08_reporting/smoke"
    own = {
        "models": [data / "06_models/smoke/models.json"],
        "scenes": [data / "01_raw", data / "06_models/smoke/base"],
        "scenes_validation": [
            data / "01_raw/smoke/validation_sets",
            data / "01_raw/smoke/validation_sets.json",
        ],
        "ingest": [data / "01_raw/smoke/shards"],
        "validation": [data / "02_intermediate", data / "03_primary"],
        "latents": [data / "05_model_input/smoke/latents"],
        "verify": [reporting / "latents_verification.json"],
        "synthesis": [data / "05_model_input/smoke/synthetic_positives"],
        "training": [data / "06_models/smoke" / name for name in ("checkpoints", "adapters")],
        "alignment": [data / "06_models/smoke/alignments", reporting / "alignment.json"],
        "embedding": [data / "04_feature"],
        "evaluation": [data / "04_feature", data / "07_model_output"],
        "export": [data / "06_models/smoke/encoder"],
        "reporting": [reporting / "figures", reporting / "report.html"],
        "selection": [data / "06_models/smoke/selection", reporting / "selection"],
        "sweep": [reporting / "sweep.html"],
        "ledger": [reporting / "ledger.json", reporting / "ledger.html"],
    }
    for path in own[pipeline]:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def contents(project: Path) -> dict[str, object]:
    """Return all that a run leaves, without what tells the time; nothing half written may be
    among it.
    """
    found = {}
    for path in sorted(
        p for p in (project / "data").rglob("*") if p.is_file() and p.name != ".dcr.lock"
    ):
        name = str(path.relative_to(project))
        assert not is_temporary(path.name), name
        if not TRACKERS.search(name):
            found[name] = None if TIMES.search(name) else _without_seconds(path)
    return found


def _without_seconds(path: Path) -> object:
    timed = (
        path.name in ("training.json", "alignment.json", "selection.json")
        or path.parent.name == "selection"
    )
    return _drop_times(json.loads(path.read_text())) if timed else path.read_bytes()


def _drop_times(value: object) -> object:
    if isinstance(value, list):
        return [_drop_times(item) for item in value]
    if not isinstance(value, dict):
        return value
    times = ("seconds", "samples_per_second", "hours")
    return {name: _drop_times(item) for name, item in value.items() if name not in times}


class Reference:
    """An undisturbed run of one pipeline, from nothing or over what it left before."""

    def __init__(self, whole: Path, folder: Path, pipeline: str, fresh: bool) -> None:
        self._start, self._pipeline, self._place = (
            copy(whole, folder / "start"),
            pipeline,
            folder / "run",
        )
        if fresh:
            forget(self._start, pipeline)
        begun = time.perf_counter()
        with self._copy() as project:
            outcome = run_pipelines(project, "smoke", [pipeline])
            self.contents = contents(project)
        self.operations, self.seconds = outcome.operations, time.perf_counter() - begun
        import_all(outcome.modules)

    def kill(self, **moment) -> bool:
        """Kill a run and let another go on; return whether the first one was still at work."""
        with self._copy() as project:
            killed = not run_pipelines(project, "smoke", [self._pipeline], **moment).finished
            run_pipelines(project, "smoke", [self._pipeline])
            found = contents(project)
        assert found.keys() == self.contents.keys(), (self._pipeline, moment)
        differing = [name for name, content in self.contents.items() if found[name] != content]
        assert not differing, (self._pipeline, moment)
        return killed

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        """Yield a copy under a path that is the same each time: some files name it."""
        yield copy(self._start, self._place)
        shutil.rmtree(self._place)


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_a_kill_anywhere_changes_nothing_in_the_end(whole, tmp_path, torture, pipeline):
    if not torture.whole and pipeline not in QUICK:
        pytest.skip("takes longer than a sample may: `make test-torture`")
    rng = np.random.default_rng([torture.seed, PIPELINES.index(pipeline)])
    kills = 0
    for fresh in (True, False) if torture.whole else (True,):
        reference = Reference(whole, tmp_path / f"fresh-{fresh}", pipeline, fresh)
        assert reference.operations > 0
        moments = rng.choice(
            reference.operations, min(torture.amount(1, 4), reference.operations), replace=False
        )
        kills += sum(reference.kill(at_operation=int(moment)) for moment in moments)
        for _ in range(torture.amount(0, 1)):
            kills += reference.kill(after_seconds=float(rng.uniform(0.05, 1) * reference.seconds))
    torture.count("kills", kills)
