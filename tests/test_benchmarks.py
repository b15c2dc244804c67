"""Every benchmark runs, at its smallest: its figures mean nothing here, but it comes to them."""

import importlib
import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from diffusion_models import tiny_diffusion
from models import tiny_open_clip

FOLDER = Path(__file__).parents[1] / "benchmarks"
TOWER = ("--images", "4", "--batch", "2", "--repeats", "1", "--num-workers", "0")
SCRIPTS = {
    "clustering": ("--images", "200", "--width", "8", "--classes", "4"),
    "evaluation": TOWER,
    "latents": ("--images", "2", "--batch-size", "2", "--image-size", "32", "--repeats", "1"),
    "likeness": ("--count", "3000", "--threads", "1"),
    "looks": ("--num-images", "2"),
    "second_look": TOWER,
    "segmentation": TOWER,
    "validation": (
        *("--num-images", "16", "--rounds", "1"),
        *("--near", "1000", "--judged", "100", "300"),
    ),
}
SMALL = {"BLOCK": 1000, "WIDTH": 16, "NUM_READS": 2, "scaled_down_diffusion": tiny_diffusion}
ELSEWHERE = {
    "counts": "test_step_benchmark.py",
    "gpu_check": "test_gpu_check.py",
    "step": "test_step_benchmark.py",
    "structure": "test_benchmarks.py",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_it_comes_to_its_figures(name, monkeypatch, capsys):
    towers = importlib.import_module("towers")
    monkeypatch.setattr(towers, "tiny_open_clip", lambda folder, _: tiny_open_clip(folder))
    script = importlib.import_module(name)
    for large, small in SMALL.items():
        if hasattr(script, large):
            monkeypatch.setattr(script, large, small)
    monkeypatch.setattr(sys, "argv", [name, *SCRIPTS[name]])
    script.main()
    told = capsys.readouterr().out
    assert json.loads(told[told.rindex("\n{\n") :] if "\n{\n" in told else told)


def test_the_sources_are_counted():
    counted = importlib.import_module("structure").count(FOLDER)
    assert counted["modules"] == len(list(FOLDER.glob("*.py")))


def test_no_benchmark_is_left_out():
    runs = {
        path.stem
        for path in FOLDER.glob("*.py")
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    assert runs == SCRIPTS.keys() | ELSEWHERE.keys()
    for name, test in ELSEWHERE.items():
        assert name in (FOLDER.parent / "tests" / test).read_text(encoding="utf-8")
