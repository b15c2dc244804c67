"""A layout of evaluation sets, and a metric on a set that is read already, are two files each: its
own, and that which it is named in.

Those of docs/extending.md, laid into a copy of the package, have scores, intervals, a comparison
with the base, a name on pages.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark_folders import COLOURS, image_bytes, write_classification
from doc_code import blocks, changed, copy_package, lay_in

FILES = {
    "src/dcr/data/benchmark_sets/caption_selection/foils.py",
    "src/dcr/data/benchmark_sets/caption_selection/__init__.py",
    "src/dcr/metrics/spread.py",
    "src/dcr/evaluation/classification.py",
}

EVALUATE = """
import json, sys
from benchmark_folders import ColourBackbone
from dcr.data.benchmark_sets import open_set
from dcr.errors import UserError
from dcr.evaluation import evaluate_encoder
from dcr.evaluation.comparison import comparison_records
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure
from dcr.evaluation.tables import intervals_table, scores_table
from dcr.reporting.names import measure_name
from evaluation_options import quick_options

classes, foils, broken = sys.argv[1:]
opened = [open_set(classes, kind="classification"), open_set(foils, kind="caption_selection")]
encoders = {"base": ColourBackbone(0.5), "dcr": ColourBackbone(1.0)}
results = {
    name: evaluate_encoder(encoder, opened, quick_options()) for name, encoder in encoders.items()
}
compared = comparison_records(Judge(measure(results), 0.95, {"dcr"}).compare("base", "dcr"))
found = {
    "scores": scores_table(results)["dcr"],
    "intervals": intervals_table(results)["dcr"],
    "difference": compared["clustering"]["spread"]["difference"]["value"],
    "name": measure_name("clustering.spread"),
    "captions": [group.captions for group in opened[1].groups()],
}
try:
    open_set(broken)
except UserError as error:
    found["refusal"] = str(error)
print(json.dumps(found))
"""


def write_foils(folder, **changes):
    names = list(COLOURS)
    (folder / "images").mkdir(parents=True)
    entries = {}
    for number, name in enumerate(names):
        (folder / "images" / f"{name}.png").write_bytes(image_bytes(COLOURS[name]))
        words = {"caption": f"all is {name}", "foil": f"all is {names[number - 1]}"}
        kind = ("nouns", "verbs")[number % 2]
        entries[str(number)] = {"image": f"{name}.png", **words, "phenomenon": kind, **changes}
    (folder / "foils.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process sees that runs a copy of the package with layout and metric in it."""
    root = tmp_path_factory.mktemp("benchmark")
    source = copy_package(root)
    lay_in(root, [block for block in blocks("A benchmark") if block.path in FILES])
    foils = [write_foils(root / "foils"), write_foils(root / "broken", image="../0.png")]
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        [sys.executable, "-c", EVALUATE, write_classification(root / "set"), *foils],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(source), str(support)))},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "changed": changed(root)}


def test_no_other_file_differs_from_the_package(found):
    assert found["changed"] == FILES


def test_a_metric_has_a_score_an_interval_and_a_comparison_with_the_base(found):
    low, high = found["intervals"]["clustering"]["spread"]
    assert low <= found["scores"]["clustering"]["spread"] <= high
    assert found["difference"] != 0


def test_pages_call_a_metric_by_its_name(found):
    assert "spread" in found["name"]


def test_a_layout_is_read_as_it_is_written(found):
    names = list(COLOURS)
    told = [[f"all is {name}", f"all is {names[n - 1]}"] for n, name in enumerate(names)]
    assert found["captions"] == told


def test_a_layout_is_scored_by_type_with_intervals(found):
    for benchmark, names in (("caption_selection", {"text_score"}), ("caption_types", {"nouns"})):
        scores, intervals = found["scores"][benchmark], found["intervals"][benchmark]
        assert names <= scores.keys() == intervals.keys()
    assert found["scores"]["caption_selection"]["text_score"] == 1.0


def test_a_path_out_of_the_folder_is_refused(found):
    assert "must be a path inside the set's folder" in found["refusal"]
