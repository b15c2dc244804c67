"""Which command is told to a user: true for the recipe at hand."""

from __future__ import annotations

import re
from collections.abc import Sequence

_COMMAND = re.compile(r"`kedro run (?!--env )")


def made_by(maker: str, pipelines: Sequence[str], beside: str = "") -> str | None:
    """Return the command that makes something, None where the recipe's own data take its place.

    The catalog calls it as ``${made_by:scenes,${globals:pipelines}}``: only a recipe that lists
    `scenes` has its data and base models rendered, and one on a user's data must never be told to.

    Args:
        maker: the pipeline that makes it.
        pipelines: those that the recipe lists.
        beside: the pipeline that the recipe has to list, where that is not the maker itself.
    """
    return f"kedro run --pipelines {maker}" if (beside or maker) in pipelines else None


def for_recipe(sentence: str, env: str | None) -> str:
    """Return a sentence whose `kedro run` commands name the recipe that the run was started with.

    Args:
        sentence: with commands in backticks, none of which names a recipe yet.
        env: the recipe as `--env` named it; None leaves the sentence as it is.
    """
    return _COMMAND.sub(f"`kedro run --env {env} ", sentence) if env else sentence
