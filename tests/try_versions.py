"""Try the libraries' lowest and newest allowed versions, and each Python that is declared.

    try_versions.py <folder> [case ...]

Every case is an environment of its own in the folder, made by uv, in which the smoke recipe runs
with its own copy of `conf` and then a quick part of the tests. A Python that is not on this machine
is told and left out. The exit code is 1 if a case fails, and 2 if none does but one was left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
CASES = {  # name: Python, and what uv resolves by
    "lowest": ("3.11", ["--resolution", "lowest-direct"]),
    "newest": ("3.11", ["--resolution", "highest"]),
    "python-3.12": ("3.12", ["--constraint", "constraints.txt"]),
    "python-3.13": ("3.13", ["--constraint", "constraints.txt"]),
}
QUICK = (
    *("losses", "metrics", "models/test_encoder.py", "export", "data/test_decoding.py"),
    *("evaluation/test_scores.py", "validation/test_expectations.py"),
    *("training/test_objectives.py", "reporting/test_figures.py"),
)
TOLD = (
    "torch",
    "transformers",
    "open_clip_torch",
    "diffusers",
    "kedro",
    "great_expectations",
    "dvc",
)

FAILED = 1
LEFT_OUT = 2


def main(folder: Path, names: list[str]) -> int:
    """Try the cases of these names, all without any; return the exit code."""
    if unknown := sorted(set(names) - CASES.keys()):
        sys.exit(f"there is no case {', '.join(unknown)}: name some of {', '.join(CASES)}")
    outcomes = {name: try_case(folder / name, *CASES[name]) for name in names or CASES}
    for name, (_, told) in outcomes.items():
        print(f"{name}: {told}")
    codes = {code for code, _ in outcomes.values()}
    return FAILED if FAILED in codes else max(codes)


def try_case(folder: Path, version: str, options: list[str]) -> tuple[int, str]:
    """Return how one environment did: 0 well, 1 not, 2 left out; and the same in words."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    uv = [sys.executable, "-m", "uv"]
    python = folder / "venv" / "bin" / "python"
    if run(*uv, "python", "find", "--no-python-downloads", version):
        return LEFT_OUT, f"left out, there is no Python {version} here"
    if run(*uv, "venv", "--python", version, folder / "venv"):
        return FAILED, "the environment could not be made"
    if run(*uv, "pip", "install", "--python", python, *options, "--editable", ".[dev]"):
        return FAILED, "the installation failed"
    shutil.copytree(PROJECT / "conf", folder / "conf")
    smoke = run(python, "-m", "dcr", "--env", "smoke", cwd=folder)
    tests = run(python, "-m", "pytest", "-n", "2", *(f"tests/{path}" for path in QUICK))
    told = f"smoke recipe {'failed' if smoke else 'ran'}, tests {'failed' if tests else 'passed'}"
    code = FAILED if smoke or tests else 0
    return code, f"Python {version}, {versions(python)}: {told}"


def versions(python: Path) -> str:
    """Return the main libraries' versions in an environment."""
    told = f"*(f'{{name}} {{version(name)}}' for name in {TOLD})"
    code = f"from importlib.metadata import version; print({told}, sep=', ')"
    return subprocess.run(
        [python, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()


def run(*command: str | Path, cwd: Path = PROJECT) -> int:
    """Return a command's exit code; it finds the programs of its own environment."""
    folder = Path(command[0]).parent
    environment = os.environ | {
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    print("$", *command, flush=True)
    return subprocess.run(list(map(str, command)), cwd=cwd, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
