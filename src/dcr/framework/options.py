"""Options that several commands have, and Kedro's own made to refuse in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from typing import Any, TypeVar

import click
from kedro.framework.cli.project import run as kedro_run

from dcr.errors import UserError
from dcr.framework.config_loader import BASE
from dcr.framework.home import conf_folder
from dcr.parameters import check_name

F = TypeVar("F", bound=Callable[..., Any])

_ENV = "KEDRO_ENV"

env_option = click.option(
    "--env",
    "-e",
    envvar=_ENV,
    show_envvar=True,
    help="The recipe's folder in conf/; without it the demo.",
)
conf_source_option = click.option(
    "--conf-source",
    type=click.Path(exists=True, file_okay=False),
    help="Where the recipes are: conf/ of the project.",
)


def check_recipe(env: str | None, conf_source: str | None) -> None:
    """Refuse a recipe that has no folder, named by the option or in the environment."""
    name = env or os.environ.get(_ENV)
    option = _ENV if name == os.environ.get(_ENV) else "--env"
    folder = conf_folder(conf_source)
    if not folder.is_dir():  # an archive or URL tells when it is read
        return
    if not (folder / BASE).is_dir():
        raise UserError(
            f"--conf-source {folder}: there is no folder {BASE!r} in it; name the folder `conf` of"
            " a project"
        )
    if name:
        check_name(
            "recipe", name, sorted(path.name for path in folder.iterdir() if path.is_dir()), option
        )


_FORMS = {
    "config": "a YAML file whose section `run` holds options by name",
    "params": "section.name=value, several with commas between them",
}


def understood(option: click.Parameter) -> click.Parameter:
    """Return an option of Kedro's that refuses values that Kedro cannot read, without traceback."""
    read = option.callback
    if read is None:
        return option

    def read_or_refuse(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        """Read what ``value`` the user gave of an option, or refuse it with the form that is due.

        Args:
            ctx, param, value: as click calls back with them.

        Raises:
            UserError: Kedro cannot read the value.
        """
        try:
            return read(ctx, param, value)
        except (click.ClickException, UserError):
            raise
        except Exception as exc:  # of YAML, OmegaConf, or of a value that is not what Kedro expects
            form = _FORMS.get(param.name, "see `kedro run --help`")
            raise UserError(
                f"{param.opts[0]} {value}: it cannot be understood; write {form}"
            ) from exc

    option = copy(option)
    option.callback = read_or_refuse
    return option


def params_option(function: F) -> F:
    """Give a command the option --params as `kedro run` has it."""
    (option,) = [option for option in kedro_run.params if option.name == "params"]
    added = function.__dict__.setdefault("__click_params__", [])  # as click's own decorators do
    added.append(understood(option))
    return function
