"""`python -m dcr` is `kedro run` in this project."""

from pathlib import Path

from kedro.framework.startup import bootstrap_project

from dcr.cli import run


def main() -> None:
    """Run from the project's folder with `kedro run`'s options."""
    bootstrap_project(Path.cwd())
    run()


if __name__ == "__main__":
    main()
