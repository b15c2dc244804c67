"""A metric on a set that is read already is two files: its own, and where the set is evaluated.

Laid into a copy of the package it has an interval, a comparison with the base, a name on pages.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dcr
from benchmark_folders import write_classification

PACKAGE = Path(dcr.__file__).parent
METRIC = Path("metrics/spread.py")
USE = Path("evaluation/classification.py")

SOURCE = '''
import numpy as np


def spread(embeddings, counts):
    """Return the mean distance of images, drawn ``counts`` (..., N) times, from the origin."""
    lengths = np.linalg.norm(embeddings, axis=1)
    return (counts * lengths).sum(axis=-1) / counts.sum(axis=-1)
'''
IMPORT = ("from dcr.metrics.separation", "from dcr.metrics.spread import spread\n")
LINE = (
    '            "between_class_share"',
    '            "spread": spread(test.embeddings, counts),\n',
)

EVALUATE = """
import json, sys
import dcr
from benchmark_folders import ColourBackbone
from dcr.data.benchmark_sets import open_set
from dcr.evaluation import evaluate_encoder
from dcr.evaluation.comparison import comparison_records
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure
from dcr.evaluation.tables import intervals_table, scores_table
from dcr.reporting.names import measure_name
from evaluation_options import quick_options

(benchmark_set,) = [open_set(sys.argv[1], "classification")]
encoders = {"base": ColourBackbone(0.5), "dcr": ColourBackbone(1.0)}
results = {
    name: evaluate_encoder(encoder, [benchmark_set], quick_options())
    for name, encoder in encoders.items()
}
compared = comparison_records(Judge(measure(results), 0.95, {"dcr"}).compare("base", "dcr"))
print(json.dumps({
    "package": dcr.__file__,
    "score": scores_table(results)["dcr"]["clustering"]["spread"],
    "interval": intervals_table(results)["dcr"]["clustering"]["spread"],
    "difference": compared["clustering"]["spread"]["difference"]["value"],
    "name": measure_name("clustering.spread"),
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process sees that runs a copy of the package with the metric in it."""
    root = tmp_path_factory.mktemp("metric")
    copy = shutil.copytree(PACKAGE, root / "dcr", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / METRIC).write_text(SOURCE)
    text = (copy / USE).read_text(encoding="utf-8")
    for before, line in (IMPORT, LINE):
        head, found, tail = text.partition(before)
        assert found, f"{USE} has no longer the line that starts with {before!r}"
        text = head + line + found + tail
    (copy / USE).write_text(text, encoding="utf-8")
    write_classification(root / "set")
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        [sys.executable, "-c", EVALUATE, str(root / "set")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(root), str(support)))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "copy": copy}


def test_two_files_differ_from_the_package(found):
    assert Path(found["package"]).parent == found["copy"]
    changed = {
        path.relative_to(found["copy"])
        for path in found["copy"].rglob("*.py")
        if not (own := PACKAGE / path.relative_to(found["copy"])).exists()
        or own.read_bytes() != path.read_bytes()
    }
    assert changed == {METRIC, USE}


def test_it_has_a_score_an_interval_and_a_comparison_with_the_base(found):
    low, high = found["interval"]
    assert low <= found["score"] <= high
    assert found["difference"] != 0


def test_pages_call_it_by_its_name(found):
    assert "spread" in found["name"]
