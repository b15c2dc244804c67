"""`python -m dcr` and the console script `dcr` are `kedro run`; other commands follow by name."""

from __future__ import annotations

import sys
from pathlib import Path

from dcr.errors import UserError
from dcr.extras import needs_extra


def main() -> None:
    """Run with `kedro run`'s options, or the `kedro` command that is named first.

    ``dcr make-set …`` is such a command. The project is the folder of this one or above it that has
    a pyproject.toml of Kedro's. Where there is none, as for an installed wheel, it is this folder,
    with its own ``conf``.
    """
    try:
        with needs_extra("pipeline", "the command line"):
            from kedro.framework.project import configure_project
            from kedro.framework.startup import bootstrap_project
            from kedro.utils import find_kedro_project

            from dcr.cli import cli, run
    except UserError as error:
        sys.exit(f"Error: {error}")
    project = find_kedro_project(Path.cwd())
    if project is None:
        configure_project("dcr")
    else:
        bootstrap_project(project)
    command = cli if sys.argv[1:2] and sys.argv[1] in cli.commands else run
    command()


if __name__ == "__main__":
    main()
