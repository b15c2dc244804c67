"""One step of a recipe on this host, which may be one of several; the same on every scheduler.

    python deploy/run.py STEP [--env RECIPE] [--params section.name=value,...]

STEP is a pipeline, or several with commas between them. Every host runs this command; which one it
is tells the scheduler, see `hosts.py`.

- latents and embedding are shared out: each host takes its part, one process a GPU, and meets
  no other.
- validation and training are led by the first host: the others bring workers to it. Training has as
  many hosts, and processes on each, as the recipe's `training.processes` says, or is refused.
- every other step is the first host's alone.

Several are run in the order given; those that are shared out or led one by one, and so not on
several hosts, which would not wait for each other.

The same command goes on where it was after any end. Exit code 143: a signal asked it to end,
and it has saved.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

from connections import First, Others, open_port
from handshake import Meeting, read_key
from hosts import Hosts, find_hosts, number
from led import Recipe, Step, training, validation
from processes import Command, Stop, exit_code, kept_running, run_all, say
from together import follow, lead

SHARED_OUT = ("latents", "embedding")
LED = {"validation": validation, "training": training}
_PATIENCE_SECONDS = 600
_PORT = 29400
_DATA = Path(__file__).parents[1] / "data"


def main(arguments: list[str]) -> int:
    """Run a step on this host; return the exit code."""
    parser = argparse.ArgumentParser(prog="run.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("step", help="a pipeline: validation, latents, training, embedding, ...")
    parser.add_argument(
        "--env",
        default=os.environ.get("KEDRO_ENV") or None,
        help="the recipe's folder in conf/; without it KEDRO_ENV's, or the demo",
    )
    parser.add_argument("--conf-source", help="where the recipes are: conf/ of the project")
    parser.add_argument("--params", default="", help="in the place of the recipe's parameters")
    found = parser.parse_args(arguments)
    recipe = Recipe(found.env, found.conf_source, found.params)
    with Stop() as stop:
        return run_step(found.step, recipe, find_hosts(), stop)


def run_step(step: str, recipe: Recipe, hosts: Hosts, stop: Stop) -> int:
    """Run this host's part of a step; return the exit code.

    Args:
        step: a pipeline, or several with commas between them.
        recipe: of the command line.
        hosts: which one this is.
        stop: open, tells of a signal.

    Raises:
        SystemExit: the recipe, or the number of hosts, does not allow it.
    """
    parts = in_turn(step)
    if len(parts) > 1 and hosts.count > 1:
        raise SystemExit(
            f"{step}: on {hosts.count} hosts these are {len(parts)} steps, each to be started when"
            f" all hosts have ended the one before: {', then '.join(parts)}"
        )
    # Before anything runs: the last one may be hours away.
    told = {part: ask(part, recipe, hosts) for part in parts if _name(part) in LED}
    for part in parts:
        if code := _run_part(part, told.get(part), recipe, hosts, stop):
            return code
    return 0


def in_turn(step: str) -> list[str]:
    """Return the parts of a list of pipelines that are run one after the other.

    Those that are shared out or led are parts by themselves; others that follow each other are one.
    Pipeline `likeness` stands between two nodes of `validation` and is run with it.
    """
    names = step.split(",")
    if {"validation", "likeness"} <= {*names}:
        names = [name for name in names if name != "likeness"]
        names[names.index("validation")] = "validation,likeness"
    parts: list[str] = []
    for name in names:
        if parts and not any(_name(part) in (*SHARED_OUT, *LED) for part in (name, parts[-1])):
            parts[-1] += f",{name}"
        else:
            parts.append(name)
    return parts


def _name(part: str) -> str:
    return part.partition(",")[0]


def ask(part: str, recipe: Recipe, hosts: Hosts) -> Step:
    """Return what the recipe says of a part, which it allows on as many hosts and GPUs.

    Raises:
        SystemExit: it does not, and the sentence that says why is printed; or a signal ended it.
    """
    command = recipe.command("check-hosts", part, str(hosts.count), str(hosts.gpus))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(exit_code(done.returncode))
    return Step(**json.loads(done.stdout.splitlines()[-1]))


def _run_part(part: str, told: Step | None, recipe: Recipe, hosts: Hosts, stop: Stop) -> int:
    if part in SHARED_OUT:
        return share(recipe.command("--pipelines", part), hosts, stop)
    if told and hosts.count > 1:
        return meet(part, told, recipe, hosts, stop)
    if hosts.rank > 0:
        say(f"{part} is the first host's alone")
        return 0
    return run_all([recipe.command("--pipelines", told.pipelines if told else part)], stop)


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


def meet(part: str, told: Step, recipe: Recipe, hosts: Hosts, stop: Stop) -> int:
    """Run this host's part of a step that the first host leads."""
    if hosts.is_array:
        raise SystemExit(f"{part} is led by one host: submit it with --nodes, not as an array")
    port = number(os.environ, "DCR_PORT", _PORT, least=1, most=65534)
    patience = number(os.environ, "DCR_PATIENCE", _PATIENCE_SECONDS, least=1)
    led = LED[_name(part)](recipe, told, hosts, port)
    meeting = Meeting(shlex.join(recipe.command(part)[3:]), hosts.count, read_key(_DATA))
    if hosts.rank:
        first = First(hosts.head, port + 1)
        return follow(led.others, first, meeting, hosts.rank, patience, stop)
    open_port(port).close()  # what it is for would go on without it
    with kept_running(led.beside):
        return lead(led.first, Others(meeting), port + 1, led.needs_all, patience, stop)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
