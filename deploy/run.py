"""One step of a recipe on this host, which may be one of several; the same on every scheduler.

    python deploy/run.py STEP [--env RECIPE] [--params section.name=value,...]

STEP is a pipeline. Every host runs this command; which one it is tells the scheduler, see
`hosts.py`.

- latents and embedding are shared out: each host takes its part, one process a GPU, and meets
  no other.
- validation and training are led by the first host: the others bring workers to it. Training has as
  many hosts, and processes on each, as the recipe's `training.processes` says, or is refused.
- every other step is the first host's alone.

The same command goes on where it was after any end. Exit code 143: it was asked to end by SIGTERM
and has saved.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hosts import Hosts, find_hosts
from together import Command, Others, Stop, end_group, exit_code, follow, lead, say

SHARED_OUT = ("latents", "embedding")
LED = ("validation", "training")
_PATIENCE_SECONDS = 600.0
_PORT = 29400


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


def main(arguments: list[str]) -> int:
    """Run a step on this host; return the exit code."""
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", help="a pipeline: validation, latents, training, embedding, ...")
    parser.add_argument("--env", help="the recipe's folder in conf/; without it the demo")
    parser.add_argument("--conf-source", help="where the recipes are: conf/ of the project")
    parser.add_argument("--params", default="", help="in the place of the recipe's parameters")
    found = parser.parse_args(arguments)
    recipe = Recipe(found.env, found.conf_source, found.params)
    with Stop() as stop:
        return run_step(found.step, recipe, find_hosts(), stop)


def run_step(step: str, recipe: Recipe, hosts: Hosts, stop: Stop) -> int:
    """Run this host's part of a step; return the exit code."""
    if step in SHARED_OUT:
        return share(recipe.command("--pipelines", step), hosts, stop)
    if step == "training":
        given = [str(hosts.count), str(hosts.gpus)]
        if code := run_all([recipe.command("check-hosts", *given)], stop):
            return code
    if step in LED and hosts.count > 1:
        return meet(step, recipe, hosts, stop)
    if hosts.rank > 0:
        say(f"{step} is the first host's alone")
        return 0
    return run_all([recipe.command("--pipelines", step)], stop)


def share(command: Command, hosts: Hosts, stop: Stop) -> int:
    """Run this host's processes of a step that is shared out, each as torchrun would start it."""
    on_host = max(1, hosts.gpus)
    count = hosts.count * on_host
    environments = [
        {
            "RANK": str(hosts.rank * on_host + local),
            "WORLD_SIZE": str(count),
            "LOCAL_RANK": str(local),
            "LOCAL_WORLD_SIZE": str(on_host),
        }
        for local in range(on_host)
    ]
    return run_all([command] * on_host, stop, environments if count > 1 else None)


def run_all(
    commands: list[Command], stop: Stop, environments: list[dict[str, str]] | None = None
) -> int:
    """Run commands at the same time, to their ends; hand SIGTERM on to each.

    Args:
        commands: to run.
        stop: open, tells of SIGTERM.
        environments: variables of each, beside those of this process.

    Returns:
        The first exit code that is not 0.
    """
    more: list[dict[str, str]] = environments or [{} for _ in commands]
    started = [
        subprocess.Popen(command, env={**os.environ, **own})
        for command, own in zip(commands, more, strict=True)
    ]
    is_told = False
    while any(process.poll() is None for process in started):
        if stop.came and not is_told:
            is_told = True
            for process in started:
                process.terminate()
        time.sleep(0.2)
    return next((code for code in map(exit_code, started) if code), 0)


def meet(step: str, recipe: Recipe, hosts: Hosts, stop: Stop) -> int:
    """Run this host's part of a step that the first host leads."""
    if hosts.is_array:
        raise SystemExit(f"{step} is led by one host: submit it with --nodes, not as an array")
    port = int(os.environ.get("DCR_PORT", _PORT))
    patience = float(os.environ.get("DCR_PATIENCE", _PATIENCE_SECONDS))
    led = {"training": training, "validation": validation}[step](recipe, hosts, port)
    if hosts.rank:
        return follow(led.others, hosts.head, port + 1, hosts.rank, patience, stop)
    with kept_running(led.beside):
        others = Others(hosts.count - 1)
        return lead(led.first, others, port + 1, led.needs_all, patience, stop)


def training(recipe: Recipe, hosts: Hosts, port: int) -> Led:
    """Return what trains: workers on all hosts, started by Kedro on the first one."""
    endpoint = {"training.processes.rendezvous_endpoint": f"{hosts.head}:{port}"}
    first = recipe.command("--pipelines", "training", params=endpoint)
    return Led(first, recipe.command("join"))


def validation(recipe: Recipe, hosts: Hosts, port: int) -> Led:
    """Return what validates: a Dask cluster, or a Ray cluster where --params says so."""
    is_ray = "validation.backend=ray" in recipe.params.split(",")
    start = ray_cluster if is_ray else dask_cluster
    address, beside, worker = start(hosts.head, port, num_workers())
    params = {
        "validation.backend": "ray" if is_ray else "dask",
        "validation.cluster": address,
        "validation.n_jobs": -1,
    }
    first = recipe.command("--pipelines", "validation", params=params)
    return Led(first, worker, beside, needs_all=False)


def num_workers(environment: Mapping[str, str] = os.environ) -> int:
    """Return how many workers validate on this host: DCR_NUM_WORKERS, else its cores."""
    return int(environment.get("DCR_NUM_WORKERS", len(os.sched_getaffinity(0))))


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
    """Return a command of the environment that this process runs in."""
    return str(Path(sys.executable).with_name(name))


@contextmanager
def kept_running(commands: list[Command]) -> Iterator[None]:
    """Run commands while open."""
    started = [subprocess.Popen(command, start_new_session=True) for command in commands]
    try:
        yield
    finally:
        for process in reversed(started):
            end_group(process)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
