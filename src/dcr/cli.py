"""`kedro run`, with mistakes of the user told in one sentence instead of a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from dcr.errors import UserError
from dcr.framework.edge import Command
from dcr.framework.home import conf_folder, name_the_user, use_project_logging
from dcr.framework.options import (
    check_recipe,
    conf_source_option,
    env_option,
    params_option,
    understood,
)
from dcr.framework.session import refusal


@click.group(name="dcr")
def cli() -> None:
    """Commands of this project."""


def _run(env: str | None, pipeline: str | None, runner: str | None, **options: Any) -> Any:
    """Run the pipelines of a recipe; see `kedro run --help`."""
    name_the_user()
    use_project_logging(options["conf_source"])
    check_recipe(env, options["conf_source"])
    if runner not in (None, "SequentialRunner"):
        raise UserError(refusal(f"--runner {runner}"))
    if options["is_async"]:
        raise UserError(refusal("--async"))
    if options["runner_params"]:
        raise UserError("--runner-params: the runner here has none; leave it out")
    if pipeline:  # Kedro deprecates --pipeline for --pipelines; both work here without a warning
        options["pipelines"] = [*options["pipelines"], pipeline]
    assert kedro_run.callback is not None  # click's type allows a command without one
    return kedro_run.callback(env=env, pipeline=None, runner=None, **options)


run = Command(
    "run",
    params=[understood(option) for option in kedro_run.params],
    callback=_run,
    help=kedro_run.help,
)
cli.add_command(run)


@cli.command("make-set", cls=Command)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    type=click.Choice(
        ["classification", "retrieval", "mmvp_vlm", "caption_selection", "segmentation"]
    ),
    default="classification",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    help="Prompt with {c} where the class name goes; repeatable.",
)
def make_set(source: Path, target: Path, kind: str, templates: tuple[str, ...]) -> None:
    """Write an evaluation set as this project and CLIP_benchmark read it; TARGET is the new folder.

    \b
    What SOURCE holds, by kind:
      classification     one folder a class, as torchvision's ImageFolder reads them, in train/
                         and test/ (or val/), or at its top for a test split alone
      retrieval          images, and captions.csv (image,caption) or a .txt beside each image
      mmvp_vlm           images, and pairs.csv
                         (type,first_image,first_statement,second_image,second_statement)
      caption_selection  SugarCrepe, SugarCrepe++, ARO, What'sUp, Winoground, MMVP-VLM or tars of
                         CLIP_benchmark, which become groups.jsonl and images
      segmentation       images/train/, images/val/ and masks/train/, masks/val/ with a PNG of class
                         indices for each image, which become Pascal VOC's layout

    \f
    Args:
        source, target, kind: as above.
        templates: prompts for classes, each with {c} where the name goes; empty for the set's own.
    """
    from dcr.data.benchmark_sets import make_set

    make_set(kind, source, target, templates)


@cli.command("make-dvc", cls=Command)
@env_option
@conf_source_option
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Another file than stages/<recipe>/dvc.yaml.",
)
def make_dvc(env: str | None, conf_source: str | None, output: Path | None) -> None:
    """Write a recipe's pipelines as stages for `dvc repro`.

    They go into stages/<recipe>/dvc.yaml, without a recipe the demo's into the project's own
    dvc.yaml.

    \f
    Args:
        env: the recipe's folder, None for the demo.
        conf_source: the folder with the recipes, None for that of the project.
        output: the file to write, None for ``stages/<env>/dvc.yaml`` or, without ``env``, the
            project's.
    """
    from dcr.framework.make_dvc import write_stages

    check_recipe(env, conf_source)
    click.echo(f"written: {write_stages(env, conf_folder(conf_source), output)}")


@cli.command("plan", cls=Command)
@env_option
@conf_source_option
@params_option
@click.option("--json", "as_json", is_flag=True, help="Bytes, operations and hours as JSON.")
def plan(env: str | None, conf_source: str | None, params: dict[str, Any], as_json: bool) -> None:
    """Tell what a recipe will cost, before anything is downloaded, rented or run.

    Memory and operations of every run's steps, GPU-hours by card, what fits in which memory, disk,
    and what other settings would save.

    \f
    Args:
        env: the recipe's folder, None for the demo.
        conf_source: the folder with the recipes, None for that of the project.
        params: values in the place of the recipe's, as `kedro run` takes them.
        as_json: whether JSON is printed.
    """
    from dcr.framework.planning import tell_plan

    name_the_user()
    check_recipe(env, conf_source)
    click.echo(tell_plan(env, conf_source, params, as_json))


@cli.command("publish", cls=Command)
@env_option
@conf_source_option
@params_option
@click.option("--to", required=True, help="org/name of the hub, or org/name@branch.")
@click.option("--private", is_flag=True, help="Make the repository a private one.")
@click.option("--dry-run", is_flag=True, help="Tell what would go, and send nothing.")
def publish(
    env: str | None,
    conf_source: str | None,
    params: dict[str, Any],
    to: str,
    private: bool,
    dry_run: bool,
) -> None:
    """Put a recipe's exported encoder, with its card and results, on the Hugging Face hub.

    The token is the hub's own: `hf auth login`, or HF_TOKEN. What goes are the files on the
    folder's own list, in one commit; a second call sends what has changed. What was made with
    --params is published with the same.

    \f
    Args:
        env: the recipe's folder, None for the demo.
        conf_source: the folder with the recipes, None for that of the project.
        params: values in the place of the recipe's, as `kedro run` takes them.
        to: the repository, and perhaps its branch.
        private: whether the repository is to be a private one.
        dry_run: whether nothing is sent.
    """
    from dcr.framework.publishing import publish_encoder

    name_the_user()
    use_project_logging(conf_source)
    check_recipe(env, conf_source)
    click.echo(publish_encoder(env, conf_source, params, to, private, dry_run))


@cli.command("join", cls=Command)
@env_option
@conf_source_option
@params_option
def join(env: str | None, conf_source: str | None, params: dict[str, Any]) -> None:
    """Take part, as another host, in what the first host trains, until SIGTERM, SIGHUP or Ctrl-C.

    The first one runs `kedro run --pipelines training` with training.processes.num_hosts above 1;
    all hosts see the project under the same path.

    \f
    Args:
        env: the recipe's folder, None for the demo.
        conf_source: the folder with the recipes, None for that of the project.
        params: values in the place of the recipe's, as `kedro run` takes them.
    """
    from dcr.framework.hosts import join_training

    name_the_user()
    use_project_logging(conf_source)
    check_recipe(env, conf_source)
    join_training(env, conf_source, params)


@cli.command("check-hosts", cls=Command)
@click.argument("step")
@click.argument("hosts", type=click.IntRange(min=1))
@click.argument("gpus", type=click.IntRange(min=0))
@env_option
@conf_source_option
@params_option
def check_hosts(
    step: str,
    hosts: int,
    gpus: int,
    env: str | None,
    conf_source: str | None,
    params: dict[str, Any],
) -> None:
    """Tell in JSON what the recipe says of STEP, if it may run on HOSTS hosts of GPUS GPUs each.

    0 GPUs stand for any number of them.

    \f
    Args:
        step: a pipeline, or several with commas between them.
        hosts, gpus: what a scheduler gives.
        env, conf_source, params: as `join` takes them.
    """
    from dcr.framework.hosts import describe_step

    check_recipe(env, conf_source)
    click.echo(json.dumps(describe_step(env, conf_source, params, step, hosts, gpus)))
