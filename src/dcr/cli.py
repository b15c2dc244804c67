"""`kedro run`, with mistakes of the user told in one sentence instead of a traceback."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines

from dcr.errors import UserError
from dcr.home import conf_folder, name_the_user, use_project_logging


@click.group(name="dcr")
def cli() -> None:
    """Commands of this project."""


def _run(env: str | None, pipeline: str | None, **options: Any) -> Any:
    """Run the pipelines of a recipe; see `kedro run --help`."""
    try:
        name_the_user()
        use_project_logging(options["conf_source"])
        _check_name("recipe", env, _recipes(options["conf_source"]), "--env")
        for name in [pipeline, *options["pipelines"]]:
            _check_name("pipeline", name, sorted(pipelines), "--pipelines")
        if pipeline:  # Kedro deprecates --pipeline for --pipelines; both work here without a warning
            options["pipelines"] = [*options["pipelines"], pipeline]
        return kedro_run.callback(env=env, pipeline=None, **options)
    except Exception as exc:
        if (cause := _user_error(exc)) is not None:
            error = click.ClickException(str(cause))
            error.exit_code = cause.exit_code
            raise error from exc
        raise


def _check_name(kind: str, name: str | None, known: list[str], option: str) -> None:
    if name and known and name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        raise UserError(f"{option} {name}: there is no {kind} {name!r}; {hint}")


def _recipes(conf_source: str | None) -> list[str]:
    folder = conf_folder(conf_source)
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _user_error(exc: BaseException | None) -> UserError | None:
    """Find the user's error among the causes of what Kedro raised."""
    while exc is not None and not isinstance(exc, UserError):
        exc = exc.__cause__ or exc.__context__
    return exc


run = click.Command("run", params=kedro_run.params, callback=_run, help=kedro_run.help)
cli.add_command(run)


@cli.command("make-set")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--kind", type=click.Choice(["classification", "retrieval", "mmvp_vlm"]), default="classification")
@click.option("--template", "templates", multiple=True, help="Prompt with {c} where the class name goes; repeatable.")
def make_set(source: Path, target: Path, kind: str, templates: tuple[str, ...]) -> None:
    """Write an evaluation set in the layout that this project and CLIP_benchmark read; TARGET is the new folder.

    \b
    What SOURCE holds, by kind:
      classification  one folder a class, as torchvision's ImageFolder reads them, in train/ and
                      test/ (or val/), or at its top for a test split alone
      retrieval       images, and captions.csv (image,caption) or a .txt beside each image
      mmvp_vlm        images, and pairs.csv (type,first_image,first_statement,second_image,second_statement)
    """
    from dcr.benchmark_sets import make_set

    try:
        make_set(kind, source, target, templates)
    except UserError as exc:
        raise click.ClickException(str(exc)) from exc


@cli.command("make-dvc")
@click.option(
    "--env", "-e", help="The recipe's folder in conf/; without it the demo's stages go into the project's own dvc.yaml."
)
@click.option(
    "--conf-source", type=click.Path(exists=True, file_okay=False), help="Where the recipes are: conf/ of the project."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Another file than stages/<recipe>/dvc.yaml."
)
def make_dvc(env: str | None, conf_source: str | None, output: Path | None) -> None:
    """Write a recipe's pipelines as stages for `dvc repro`."""
    from dcr.make_dvc import write_stages

    try:
        click.echo(f"written: {write_stages(env, conf_folder(conf_source), output)}")
    except UserError as exc:
        raise click.ClickException(str(exc)) from exc
