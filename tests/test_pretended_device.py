"""Whatever moves to a GPU runs on a pretended one, to the CPU's bits; see `pretended_device`."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

TESTS = Path(__file__).parent


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="a GPU is here: `make test-gpu` tries the real one"
)
def test_all_that_runs_on_a_gpu_runs_on_a_pretended_one():
    """In a process of its own, since a pretended device takes the place of PyTorch's own
    functions.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-o",
        "python_files=check_*.py",
        "pretended",
    ]
    result = subprocess.run(command, cwd=TESTS, capture_output=True, text=True, timeout=1200)
    assert result.returncode == 0, result.stdout + result.stderr
