"""Validation that is killed again and again ends where an undisturbed run ends."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpus import good_samples
from dcr.data.shards import Sample, write_shard

PROJECT = Path(__file__).parents[2]
SUPPORT = PROJECT / "tests" / "support"


def start(shards: Path, folder: Path) -> subprocess.Popen:
    paths = os.pathsep.join([str(PROJECT / "src"), str(SUPPORT)])
    command = [sys.executable, str(SUPPORT / "validation_run.py"), str(shards), str(folder)]
    with open(folder / "log.txt", "a") as log:
        return subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": paths},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def contents(folder: Path) -> dict[str, bytes]:
    """Everything but Great Expectations' own pages, which name the time, and the log."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in paths if path.name != "log.txt"
    }


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path):
    for number in range(40):
        samples = good_samples(60, first=60 * number)
        samples[7] = Sample(f"cut{number}", samples[8].image[:500], "jpg", "a cut image")
        write_shard(tmp_path / "shards", f"{number:05d}", samples)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    begun = time.perf_counter()
    assert start(tmp_path / "shards", tmp_path / "whole").wait() == 0, (
        tmp_path / "whole" / "log.txt"
    ).read_text()
    duration, rng, states = time.perf_counter() - begun, random.Random(0), []
    for _ in range(10):
        process = start(tmp_path / "shards", tmp_path / "killed")
        try:
            process.wait(timeout=rng.uniform(0.2, 1) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        states.append(len(contents(tmp_path / "killed")))
    assert states == sorted(states)  # what is done stays done
    assert start(tmp_path / "shards", tmp_path / "killed").wait() == 0
    whole, killed = contents(tmp_path / "whole"), contents(tmp_path / "killed")
    assert killed == whole
    assert len([name for name in whole if name.startswith("samples/")]) == 40
