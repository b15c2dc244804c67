"""Methods and seeds of stage 2 that train at the same time, a worker taking one after the other.

Small models leave most of a machine idle; trained side by side they fill it, and each gives what it
gives alone.
"""

from __future__ import annotations

from pathlib import Path

from dcr.fingerprints import json_hash
from dcr.training.job import Job, State
from dcr.training.jobs import train_method
from dcr.training.runs import Run, shorter_first, stage2_runs


def train_share(job: Job, projector: State, claims: Path) -> None:
    """Train those of stage 2's methods and seeds that no other worker of this job has taken.

    Methods that begin alike are taken together: what they have in common is trained once. The node
    reads what the workers leave in the checkpoints.

    Args:
        job: of this worker.
        projector: stage 1's weights, from which every method but end_to_end starts.
        claims: folder of this job that all its workers see.
    """
    for number, together in enumerate(_independent(job, projector)):
        try:
            (claims / f"taken-{number}").touch(exist_ok=False)
        except FileExistsError:
            continue
        for phases in together:
            train_method(job, phases, projector)


def _independent(job: Job, projector: State) -> list[list[list[Run]]]:
    """Return the methods' phases in groups that share no step, those of most steps first.

    They end last.
    """
    groups: dict[str, list[list[Run]]] = {}
    for phases in shorter_first(stage2_runs(job.parameters)).values():
        first = json_hash(job.checkpoints(phases[0], projector).fingerprint)
        groups.setdefault(first, []).append(phases)
    return sorted(
        groups.values(),
        key=lambda group: -sum(run.max_train_steps for phases in group for run in phases),
    )
