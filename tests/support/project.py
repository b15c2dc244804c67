"""Running the project as a user does: commands in a copy of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PARTS = (".telemetry", "conf", "notebooks", "src", "pyproject.toml", "dvc.yaml", ".dvcignore")


def run(*command: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
    """Run a command of this environment in a project and return what it printed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
        "COLUMNS": "400",
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )
    assert not check or result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return result


def copy_project(folder: Path) -> Path:
    """Copy what a run needs, without data, into ``folder``."""
    for name in PARTS:
        source = PROJECT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    return folder
