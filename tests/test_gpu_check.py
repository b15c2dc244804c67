"""The check of a card, as far as it goes without one: it compares, finds what is wrong, and
refuses in one sentence.
"""

import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import gpu_check
from training_world import write_world

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.mark.gpu
def test_every_path_gives_the_cpus_weights_on_the_gpu():
    gpu_check.main(["--check"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_without_a_gpu_it_says_so_in_a_sentence():
    command = [sys.executable, gpu_check.__file__]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    assert result.stdout == ""
    assert (
        result.stderr
        == "gpu_check: PyTorch finds no CUDA device on this machine; run it where `nvidia-smi`"
        " lists one\n"
    )


@pytest.mark.parametrize("path", gpu_check.PATHS)
def test_the_cpu_is_as_the_cpu(world, tmp_path, path):
    found = gpu_check.check_path(world, tmp_path, path, "no", CPU)
    assert (found.weights, found.loss) == (0.0, 0.0)
    assert found.is_right


def test_features_are_kept_on_both_sides(world, tmp_path):
    gpu_check.check_path(world, tmp_path, "kept_features", "no", CPU)
    assert len(list(tmp_path.glob("kept_features-no-*/features/*.safetensors"))) == 2


def test_only_the_card_compiles_and_records_graphs(world, tmp_path, monkeypatch):
    asked = []

    def prepare(world, folder, name, steps, **changes):
        names = ("compile", "execution.cuda_graphs")
        asked.append(tuple(changes.get(name, False) for name in names))
        return lambda device: ({"weight": torch.ones(1)}, {"loss": [1.0]})

    monkeypatch.setattr(gpu_check, "prepare", prepare)
    for path in ("savings", "compiled", "cuda_graphs"):
        gpu_check.check_path(world, tmp_path, path, "no", torch.device("cuda"))
    of_cpu, of_card = asked[::2], asked[1::2]
    assert {*of_cpu} == {(False, False)}
    assert of_card == [(False, False), (True, False), (True, True)]


@pytest.mark.parametrize("share", [0.01, float("nan")])
def test_weights_that_are_others_are_found(world, tmp_path, monkeypatch, share):
    prepare, calls = gpu_check.prepare, []

    def spoil(*args, **changes):
        run = prepare(*args, **changes)

        def spoiled(device):
            weights, log = run(device)
            calls.append(device)
            factor = 1 + share if len(calls) == 2 else 1
            return {name: tensor * factor for name, tensor in weights.items()}, log

        return spoiled

    monkeypatch.setattr(gpu_check, "prepare", spoil)
    found = gpu_check.check_path(world, tmp_path, "dcr", "no", CPU)
    assert not found.is_right
    assert found.weights == pytest.approx(share, nan_ok=True)


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_a_path_that_gives_other_bits_the_second_time_is_found(world, tmp_path, monkeypatch, noise):
    prepare, turns = gpu_check.prepare, []

    def disturb(*args, **changes):
        assert changes["execution.deterministic"]
        run = prepare(*args, **changes)

        def disturbed(device):
            weights, log = run(device)
            turns.append(device)
            return {name: tensor + len(turns) * noise for name, tensor in weights.items()}, log

        return disturbed

    monkeypatch.setattr(gpu_check, "prepare", disturb)
    assert gpu_check.check_repetition(world, tmp_path, "dcr", "bf16", CPU) == (noise == 0)


def test_waits_are_counted_by_line_and_by_step(world, tmp_path, monkeypatch):
    modes = []
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def prepare(world, folder, name, steps, **changes):
        def run(device):
            for _ in range(4 * steps):
                warnings.warn_explicit(
                    "called a synchronizing CUDA operation", UserWarning, "loop.py", 7
                )
            warnings.warn_explicit("of something else", UserWarning, "loop.py", 8)
            warnings.warn_explicit(
                "called a synchronizing CUDA operation", UserWarning, "once.py", 1
            )

        return run

    monkeypatch.setattr(gpu_check, "prepare", prepare)
    assert gpu_check.count_waits(world, tmp_path, "dcr", CPU) == Counter({"loop.py:7": 4})
    assert modes == ["warn", "default"] * 2
