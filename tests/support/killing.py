"""Runs of a project in forks of this process, which has imported everything, that end at a
moment of one's choice.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_OPERATIONS = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
}


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        finished: whether it came to its end; otherwise it was killed.
        operations: how many file operations it announced, 0 for one that was killed.
        modules: what it had imported in the end.
    """

    finished: bool
    operations: int = 0
    modules: tuple[str, ...] = ()


def run_pipelines(
    project: Path,
    env: str,
    names: list[str],
    at_operation: int | None = None,
    after_seconds: float | None = None,
) -> Outcome:
    """Run pipelines of a recipe as `kedro run` does.

    Args:
        at_operation: the run is killed just before its n-th operation on a file of the project,
            from 0.
        after_seconds: or after so long, by the system.

    Raises:
        AssertionError: the run ended with an error of its own, with its traceback.
    """

    def work() -> None:
        from kedro.framework.startup import bootstrap_project

        from dcr.framework.session import RecipeSession

        os.chdir(project)
        bootstrap_project(project)
        if after_seconds is not None:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, after_seconds)
        with RecipeSession.create(project, env=env, save_on_close=False) as session:
            session.run(names)

    return _fork(work, project, at_operation)


def import_all(modules: tuple[str, ...]) -> None:
    """Import what a run has imported, in its order, so that forks need not."""
    for name in modules:
        if name not in sys.modules and not name.startswith("__"):
            with suppress(Exception):
                importlib.import_module(name)


def _fork(work: Callable[[], None], folder: Path, at_operation: int | None) -> Outcome:
    log = folder.parent / f"{folder.name}.log"
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(reading)
        _redirect(log)
        code = 1
        try:
            counter = _Counter(folder, at_operation)
            sys.addaudithook(counter)
            work()
            report = {"operations": counter.number, "modules": list(sys.modules)}
            os.write(
                writing, (json.dumps(report) + "\n").encode()
            ) if at_operation is None else None
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()  # until the end of the child
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9, -signal.SIGALRM), f"exit code {code}\n{log.read_text()[-6000:]}"
    report = json.loads(told) if told else {"operations": 0, "modules": []}
    return Outcome(code == 0, report["operations"], tuple(report["modules"]))


def _redirect(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)


class _Counter:
    """An audit hook that counts operations on files of a folder, and ends this process before
    one of them.
    """

    def __init__(self, folder: Path, last: int | None) -> None:
        self.number, self._folder, self._last, self._pid = 0, str(folder), last, os.getpid()

    def __call__(self, event: str, arguments: tuple) -> None:
        if not self._counts(event, arguments) or os.getpid() != self._pid:
            return
        if self.number == self._last:
            os._exit(9)
        self.number += 1

    def _counts(self, event: str, arguments: tuple) -> bool:
        if event == "ctypes.call_function":  # the exchange of two folders
            return True
        if event != "open":
            return event in _OPERATIONS and self._is_inside(arguments[0])
        path, _, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return bool(writes) and self._is_inside(path)

    def _is_inside(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._folder)
