"""Which project a command belongs to, and where its configuration lies, whatever its folder."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import yaml
from kedro.framework.project import configure_logging, settings
from kedro.utils import find_kedro_project

_LOGGING = "logging.yml"


def project_folder() -> Path:
    """Return the Kedro project in this folder or above it, else this folder, as for a wheel."""
    return Path(find_kedro_project(Path.cwd()) or Path.cwd())


def conf_folder(conf_source: str | None = None) -> Path:
    """Return the folder with the recipes: ``conf_source`` if given, else the project's own.

    It is what ``--conf-source`` names.
    """
    return Path(conf_source) if conf_source else project_folder() / settings.CONF_SOURCE


def use_project_logging(conf_source: str | None = None) -> None:
    """Log as logging.yml says, which Kedro looks for in the working directory alone.

    Args:
        conf_source: see `conf_folder`; ``KEDRO_LOGGING_CONFIG``, where it is set, goes before.
    """
    path = conf_folder(conf_source) / _LOGGING
    found_by_kedro = Path.cwd() / settings.CONF_SOURCE / _LOGGING
    if (
        "KEDRO_LOGGING_CONFIG" in os.environ
        or not path.is_file()
        or path.resolve() == found_by_kedro.resolve()
    ):
        return
    configure_logging(yaml.safe_load(path.read_text(encoding="utf-8")))


def name_the_user() -> None:
    """Name the user where the system knows no name, as in a container under a number.

    Libraries ask for one. It goes to all processes that this one starts.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = f"uid{os.getuid()}"
