"""`kedro join`, and what a recipe says of a step that several hosts are to run."""

from __future__ import annotations

from contextlib import chdir
from typing import Any

from kedro.framework.project import settings

from dcr.errors import UserError
from dcr.framework.config_loader import RecipeConfigLoader
from dcr.framework.home import conf_folder, project_folder
from dcr.parameters import TrainingParameters, ValidationParameters, build_parameters
from dcr.parameters.training.parts import Processes


def join_training(env: str | None, conf_source: str | None, params: dict[str, Any]) -> None:
    """Join the jobs of a recipe's training, as another host than the one that Kedro runs on.

    Args:
        env: the recipe's folder, None for the demo.
        conf_source: the folder with the recipes, None for that of the project.
        params: as ``--params`` gives them, nested.

    Raises:
        UserError: there is no such recipe, or it trains on one host.
    """
    from dcr.training.distributed.joining import join_jobs

    loader = _open(env, conf_source, params)
    if _processes(loader).num_hosts == 1:
        raise UserError(
            "training.processes.num_hosts is 1, so there is nothing to join: set it to the number"
            " of hosts"
        )
    folder = project_folder()
    with chdir(folder):  # a job's paths are relative to the project, as in the first host's run
        join_jobs(folder / loader["catalog"]["checkpoints"]["filepath"])


def describe_step(
    env: str | None,
    conf_source: str | None,
    params: dict[str, Any],
    step: str,
    hosts: int,
    gpus: int,
) -> dict[str, str]:
    """Return what a recipe says of a step, if it allows it on as many hosts.

    Args:
        env, conf_source, params: as in `join_training`.
        step: a pipeline, or several with commas between them.
        hosts: that a scheduler gives.
        gpus: that it gives on each of them, 0 if it gives none.

    Returns:
        ``pipelines`` to run, among them `likeness` beside `validation` where the recipe lists both,
        and ``backend``, the recipe's ``validation.backend``.

    Raises:
        UserError: the step trains, and the recipe's processes take more or fewer.
    """
    loader = _open(env, conf_source, params)
    names = step.split(",")
    if "training" in names:
        _check_training(_processes(loader), hosts, gpus)
    listed = loader["globals"]["pipelines"]
    if "validation" in names and {"validation", "likeness"} <= {*listed, *names}:
        names = list(dict.fromkeys([*names, "likeness"]))
    validation = build_parameters(loader["parameters"])["validation"]
    assert isinstance(validation, ValidationParameters)
    return {"pipelines": ",".join(names), "backend": validation.backend}


def _check_training(processes: Processes, hosts: int, gpus: int) -> None:
    """Refuse to train a recipe on other hosts than it says, as its results depend on them."""
    on_host = max(processes.num_processes, processes.num_methods_at_once)
    if hosts != processes.num_hosts:
        raise UserError(_refusal("num_hosts", processes.num_hosts, f"{hosts} host(s)"))
    if gpus and gpus != on_host:
        raise UserError(_refusal("num_processes", on_host, f"{gpus} GPU(s) on each host"))


def _refusal(name: str, asked: int, given: str) -> str:
    return (
        f"training.processes.{name} is {asked} and the scheduler gives {given}: ask it for as"
        " many, or change the recipe, which later steps read too"
    )


def _open(env: str | None, conf_source: str | None, params: dict[str, Any]) -> RecipeConfigLoader:
    name = env or settings.CONFIG_LOADER_ARGS["default_run_env"]
    conf = str(conf_folder(conf_source))
    loader = RecipeConfigLoader(conf, name, params, **settings.CONFIG_LOADER_ARGS)
    loader.check_recipe()
    return loader


def _processes(loader: RecipeConfigLoader) -> Processes:
    training = build_parameters(loader["parameters"])["training"]
    assert isinstance(training, TrainingParameters)
    return training.processes
