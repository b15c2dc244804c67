"""Environments of Python with some of this one's packages, and new ones that are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from project import PROJECT


def requirements_of(names: Iterable[str]) -> dict[str, Distribution]:
    """Return distributions of this environment with all that they require, by their names.

    Extras are followed where a requirement names them, and no others.
    """
    found: dict[str, Distribution] = {}
    waiting = [(Requirement(name), frozenset(Requirement(name).extras)) for name in names]
    seen = set()
    while waiting:
        requirement, extras = waiting.pop()
        name = canonicalize_name(requirement.name)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # of another platform
            continue
        for line in found[name].requires or ():
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in (extras or {""})
            ):
                waiting.append((needed, frozenset(needed.extras)))
    return found


def link_packages(folder: Path, names: Iterable[str]) -> list[str]:
    """Link the files of distributions, and of all that they require, into a new folder.

    Python finds them there by PYTHONPATH, and nothing else of this environment.

    Returns:
        The distributions' names.
    """
    folder.mkdir()
    found = requirements_of(names)
    for one in found.values():
        for top in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
            target = Path(str(one.locate_file(top)))
            if target.exists() and not (folder / top).exists():
                (folder / top).symlink_to(target)
    return sorted(found)


def bare_python(*arguments: str, packages: Path, cwd: Path) -> subprocess.CompletedProcess:
    """Run the interpreter that this environment stands on, with the packages of one folder."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    paths = os.pathsep.join([str(packages), str(PROJECT / "src")])
    return subprocess.run(
        [sys._base_executable, "-S", *arguments],
        cwd=cwd,
        env=environment | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


def build_wheel(folder: Path, source: Path) -> Path:
    """Build the wheel of a copy of the project, without the network, and return its path."""
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(folder)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(source)]
    subprocess.run(command, check=True, cwd=folder, timeout=600)
    return next(folder.glob("*.whl"))


def install(folder: Path, *requirements: str) -> Path:
    """Make an empty environment and install into it, by the tested versions; return its Python."""
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", "--python", sys._base_executable, folder], check=True)
    python = folder / "bin" / "python"
    constraints = ["--constraint", str(PROJECT / "constraints.txt")]
    subprocess.run(
        [*uv, "pip", "install", "--quiet", "--python", python, *constraints, *requirements],
        check=True,
        cwd=folder,
        timeout=1200,
    )
    return python
