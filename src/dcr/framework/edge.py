"""Where exceptions become what a user sees.

A fault becomes one sentence, a mistake in the code keeps its traceback.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from dcr import faults
from dcr.framework.advice import for_recipe


class Command(click.Command):
    """A command whose faults, those of its options included, are one sentence and exit code 1."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        """Read the command line; ``arguments`` and ``options`` are those of click's method."""
        with told():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Do what the command does with the options in ``ctx``."""
        with told(ctx.params.get("env")):
            return super().invoke(ctx)


@contextmanager
def told(env: str | None = None) -> Iterator[None]:
    """Turn what the block raises into click's error, if it is a fault that a user can mend.

    Args:
        env: the recipe that the command was given, which the commands in its advice name too.
    """
    hooks = sys.unraisablehook, threading.excepthook, logging.raiseExceptions
    sys.unraisablehook = _drop
    threading.excepthook = _tell
    logging.raiseExceptions = False
    try:
        yield
        # After a fault they stay to the end.
        sys.unraisablehook, threading.excepthook, logging.raiseExceptions = hooks
    except click.ClickException as exc:
        raise _error(for_recipe(exc.format_message(), env), 1) from exc
    except Exception as exc:
        fault = faults.explain(exc)
        if fault is None:
            raise
        raise _error(for_recipe(str(fault), env), fault.exit_code) from exc


def _error(sentence: str, exit_code: int) -> click.ClickException:
    error = click.ClickException(" ".join(sentence.split()))
    error.exit_code = exit_code  # type: ignore[misc]  # click's own subclasses alone set it
    return error


def _drop(event: Any) -> None:
    """Say nothing of what follows from a fault where Python cannot raise it.

    That is so in files that are closed late.
    """
    if event.exc_value is None or faults.explain(event.exc_value) is None:
        sys.__unraisablehook__(event)


def _tell(event: Any) -> None:
    """Tell a thread's fault in one line."""
    fault = None if event.exc_value is None else faults.explain(event.exc_value)
    if fault is None:
        threading.__excepthook__(event)
    else:
        logging.getLogger(__name__).error("%s", fault)
