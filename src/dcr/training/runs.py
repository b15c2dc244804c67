"""The runs that a recipe's training is made of: stage 1, and by method and seed the phases of stage
2.

This is the one place that knows which numbers a run takes: everything else asks a :class:`Run` for
its parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from dcr.encoder_names import EncoderName, run_name
from dcr.parameters.phases import Phase
from dcr.seeds import derive_seed

if TYPE_CHECKING:
    from dcr.parameters import TrainingParameters

STAGE1 = "stage1"
"""Name of stage 1's run, and what stands for it where a run's method is asked for."""

END_TO_END = "end_to_end"
"""The method that trains projector and tower at once, by DCR's loss."""


@dataclass(frozen=True)
class Run:
    """One run, from its first optimizer step to its last.

    Attributes:
        name: of its checkpoints, its table of losses and its entry in training.json.
        method: of stage 2; :data:`STAGE1` for stage 1.
        objective: that it minimises: dcr, reconstruction or naive.
        parameters: the recipe's as this run sees them, with the numbers of its phase and the seed
            of its draws.
        held_out_seed: ``training.seed``, which held-out samples are measured with in all runs.
        number: place among the phases of its method, from 1.
    """

    name: str
    method: str
    objective: str
    parameters: TrainingParameters
    held_out_seed: int
    number: int = 1

    @property
    def max_train_steps(self) -> int:
        """Optimizer steps of the whole run."""
        p = self.parameters
        own = {STAGE1: p.stage1_max_train_steps, END_TO_END: p.end_to_end_max_train_steps}
        return own.get(self.method, p.stage2_max_train_steps)


def stage1_run(parameters: TrainingParameters) -> Run:
    """Return the run of stage 1 under the recipe's ``parameters``."""
    return Run(STAGE1, STAGE1, parameters.stage1_loss, parameters, parameters.seed)


def method_runs(parameters: TrainingParameters, method: str, seed: int | None = None) -> list[Run]:
    """Return the phases of a method in their order; one of the recipe's own numbers where it has
    none.

    Args:
        parameters: of the recipe, ``phases`` among them.
        method: of stage 2.
        seed: of `stage2_seeds`; None for ``training.seed``. A phase after the first draws from a
            seed derived from it, so that it does not see the first one's noise again.
    """
    own_seed = parameters.seed if seed is None else seed
    if method == END_TO_END:
        of_seed = parameters.model_copy(update={"seed": own_seed})
        return [Run(run_name(method, seed=seed), method, "dcr", of_seed, parameters.seed)]
    phases = parameters.phases.get(method) or [Phase(objective=method)]
    runs = []
    for number, phase in enumerate(phases, start=1):
        name = run_name(method, number if len(phases) > 1 else None, seed)
        seen = parameters.of_phase(
            phase, own_seed if number == 1 else derive_seed(own_seed, "phase", number)
        )
        runs.append(Run(name, method, phase.objective, seen, parameters.seed, number))
    return runs


def stage2_runs(parameters: TrainingParameters) -> dict[str, list[Run]]:
    """Return every method's phases, with every seed of stage 2, by the encoder's name; the product
    stands first.

    Args:
        parameters: of the recipe; ``method`` is the product's, ``baselines`` are the others.
    """
    methods = dict.fromkeys([parameters.method, *parameters.baselines])
    return {
        str(EncoderName(method, seed=seed)): method_runs(parameters, method, seed)
        for seed in (None, *parameters.stage2_seeds)
        for method in methods
    }


def all_runs(parameters: TrainingParameters) -> dict[str, Run]:
    """Return stage 1 and every run of stage 2 by name, all that the recipe's ``parameters`` ask
    for.
    """
    return {
        run.name: run for run in (stage1_run(parameters), *chain(*stage2_runs(parameters).values()))
    }


def encoder_runs(parameters: TrainingParameters, encoder: str) -> list[Run]:
    """Return the phases by which ``encoder``, such as ``dcr`` or ``dcr@1``, is trained under
    ``parameters``.
    """
    name = EncoderName.parse(encoder)
    return method_runs(parameters, name.method, name.seed)


def shorter_first(runs: dict[str, list[Run]]) -> dict[str, list[Run]]:
    """Return the methods in the order in which what they have in common is trained once.

    Of two that are alike up to a phase which is longer in one of them, the longer can go on from
    the shorter's end.

    Args:
        runs: phases by encoder, as `stage2_runs` returns them.
    """
    return dict(sorted(runs.items(), key=lambda item: [run.max_train_steps for run in item[1]]))
