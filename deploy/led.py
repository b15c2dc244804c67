"""The steps that the first host leads: what it runs, and what the others run meanwhile."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hosts import Hosts, number
from processes import Command, say


@dataclass(frozen=True)
class Recipe:
    """What the command line says of it, handed on to Kedro as it is."""

    env: str | None
    conf_source: str | None
    params: str

    def command(self, *words: str, params: Mapping[str, object] | None = None) -> list[str]:
        """Return a command of the project for this recipe.

        Args:
            words: the command, without the recipe.
            params: in the place of the recipe's and the command line's, by dotted name.
        """
        own = [f"{name}={value}" for name, value in (params or {}).items()]
        given = [pair for pair in self.params.split(",") if pair]
        options = [("--env", self.env), ("--conf-source", self.conf_source)]
        options.append(("--params", ",".join([*given, *own])))
        pairs = [word for option, value in options if value for word in (option, value)]
        return [sys.executable, "-m", "dcr", *words, *pairs]


@dataclass(frozen=True)
class Step:
    """What the recipe says of a step, as `kedro check-hosts` tells it.

    Attributes:
        pipelines: that it runs, with commas between them.
        backend: of ``validation.backend``.
    """

    pipelines: str
    backend: str


@dataclass(frozen=True)
class Led:
    """What the hosts of a step that the first one leads run.

    Attributes:
        first: the first host's command.
        others: what each other host runs meanwhile.
        beside: what the first host runs beside its command.
        needs_all: whether it runs only while all hosts are there.
    """

    first: Command
    others: Command
    beside: list[Command] = field(default_factory=list)
    needs_all: bool = True


def training(recipe: Recipe, step: Step, hosts: Hosts, port: int) -> Led:
    """Return what trains: workers on all hosts, started by Kedro on the first one.

    Args:
        recipe: of the command line.
        step: what it says.
        hosts: that train.
        port: at which the workers meet on the first host.
    """
    endpoint = {"training.processes.rendezvous_endpoint": f"{hosts.head}:{port}"}
    first = recipe.command("--pipelines", step.pipelines, params=endpoint)
    return Led(first, recipe.command("join"))


def validation(recipe: Recipe, step: Step, hosts: Hosts, port: int) -> Led:
    """Return what validates: a Ray cluster where the recipe's backend is that, else a Dask cluster.

    Args:
        recipe, step, hosts: as `training` takes them.
        port: of the Dask scheduler or the Ray head.
    """
    backend = "ray" if step.backend == "ray" else "dask"
    start = ray_cluster if backend == "ray" else dask_cluster
    count = num_workers()
    address, beside, worker = start(hosts.head, port, count)
    say(
        f"brings {count} of the workers of a cluster by {backend}, which stands in for"
        f" validation.backend {step.backend}, validation.cluster and validation.n_jobs"
    )
    params = {
        "validation.backend": backend,
        "validation.cluster": address,
        "validation.n_jobs": -1,
    }
    first = recipe.command("--pipelines", step.pipelines, params=params)
    return Led(first, worker, beside, needs_all=False)


def num_workers(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many workers validate on this host: DCR_NUM_WORKERS, else its cores."""
    return number(environment, "DCR_NUM_WORKERS", len(os.sched_getaffinity(0)), least=1)


def dask_cluster(head: str, port: int, count: int) -> tuple[str, list[Command], Command]:
    """Return its address, what the first host runs, and what every other host runs.

    Args:
        head: name or address of the first host.
        port: of the scheduler.
        count: of workers on each host.
    """
    dask = tool("dask")
    address = f"tcp://{head}:{port}"
    scheduler = [dask, "scheduler", "--port", str(port), "--no-dashboard"]
    sizes = ["--nworkers", str(count), "--nthreads", "1", "--memory-limit", "0"]
    folder = ["--local-directory", tempfile.gettempdir()]
    worker = [dask, "worker", address, *sizes, "--no-dashboard", *folder]
    return address, [scheduler, worker], worker


def ray_cluster(head: str, port: int, count: int) -> tuple[str, list[Command], Command]:
    """Return its address, what the first host runs, and what every other host runs.

    Args:
        head, port, count: as `dask_cluster` takes them.
    """
    start = [tool("ray"), "start", "--block", "--disable-usage-stats", "--num-cpus", str(count)]
    first = [*start, "--head", "--port", str(port), "--include-dashboard", "false"]
    return f"{head}:{port}", [first], [*start, "--address", f"{head}:{port}"]


def tool(name: str) -> str:
    """Return a command of the environment that this process runs in.

    Raises:
        SystemExit: its package is not installed.
    """
    path = Path(sys.executable).with_name(name)
    if not shutil.which(path):
        raise SystemExit(
            f"validation on several hosts needs the command `{name}`, which is not at {path}:"
            " `pip install 'dcr[cluster]'`, in the environment of every host"
        )
    return str(path)
