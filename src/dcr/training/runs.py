"""The runs of a recipe's training: stage 1, and by method and seed the phases of stage 2.

This is the one place that knows which numbers a run takes: everything else asks a :class:`Run` for
its parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

from dcr.encoder_names import EncoderName, run_name
from dcr.parameters.training.parts import Loss, Stage
from dcr.parameters.training.phases import Phase
from dcr.seeds import derive_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import torch

    from dcr.parameters import TrainingParameters
    from dcr.training.checkpoints import Progress

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

    @cached_property
    def stage(self) -> Stage:
        """How long the run trains, on how many samples and how fast."""
        p = self.parameters
        if self.method == STAGE1:
            return p.stage1
        if self.method == END_TO_END:
            return p.stage2.model_copy(update={"max_train_steps": p.end_to_end_max_train_steps})
        return p.stage2

    @cached_property
    def loss(self) -> Loss:
        """Weights and temperature of its loss; in stage 1 the levers of stage 2 are off."""
        off = {"reconstruction_share": 0.0, "base_embedding_weight": 0.0}
        loss = self.parameters.loss
        return loss.model_copy(update=off) if self.method == STAGE1 else loss

    @property
    def max_train_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.stage.max_train_steps

    @property
    def num_samples(self) -> int:
        """How many samples all processes read in all steps."""
        return self.max_train_steps * self.samples_a_step(self.parameters.processes.count)

    @property
    def seed(self) -> int:
        """That all draws of the run derive from."""
        return self.parameters.seed

    def samples_a_step(self, num_processes: int) -> int:
        """Return how many samples ``num_processes`` read in an optimizer step."""
        readers = 1 if self.parameters.takes("sampling") else num_processes  # all read the same
        return self.stage.train_batch_size * self.stage.gradient_accumulation_steps * readers

    @property
    def is_sharded(self) -> bool:
        """Whether every process has a part of the model, so that computing with it concerns all.

        The projector is small, and in stage 1 the tower has neither gradients nor optimizer state.
        """
        return self.parameters.processes.sharding == "fsdp2" and self.method != STAGE1

    @property
    def shares_gradients(self) -> bool:
        """Whether the processes' gradients become their mean; the published stage 1's do not."""
        return not (self.parameters.takes("reduction") and self.method == STAGE1)


@dataclass
class RunResult:
    """What a run leaves beside the weights: one row per logged step, and its cost."""

    losses: pd.DataFrame
    steps: int
    skipped_steps: int
    seconds: float
    samples_per_second: float
    trainable_parameters: int

    @classmethod
    def of(cls, progress: Progress, trainable: Mapping[str, torch.Tensor]) -> RunResult:
        """Return the result of a run that came to its last step.

        Args:
            progress: that far.
            trainable: what trained, by name.
        """
        import pandas as pd

        return cls(
            losses=pd.DataFrame(progress.rows),
            steps=progress.step,
            skipped_steps=progress.num_skipped,
            seconds=progress.seconds,
            samples_per_second=progress.num_samples / progress.seconds,
            trainable_parameters=sum(tensor.numel() for tensor in trainable.values()),
        )


def stage1_run(parameters: TrainingParameters) -> Run:
    """Return the run of stage 1 under the recipe's ``parameters``."""
    return Run(STAGE1, STAGE1, parameters.stage1.loss, parameters, parameters.seed)


def method_runs(parameters: TrainingParameters, method: str, seed: int | None = None) -> list[Run]:
    """Return the phases of a method in their order; without any, one of the recipe's own numbers.

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
    phases = parameters.phases.get(method) or [Phase.model_validate({"objective": method})]
    runs = []
    for number, phase in enumerate(phases, start=1):
        name = run_name(method, number if len(phases) > 1 else None, seed)
        seen = parameters.of_phase(
            phase, own_seed if number == 1 else derive_seed(own_seed, "phase", number)
        )
        runs.append(Run(name, method, phase.objective, seen, parameters.seed, number))
    return runs


def stage2_runs(parameters: TrainingParameters) -> dict[str, list[Run]]:
    """Return every method's phases, with every seed of stage 2, by encoder, the product first.

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
    """Return stage 1 and every run of stage 2, by name, that ``parameters`` ask for."""
    return {
        run.name: run for run in (stage1_run(parameters), *chain(*stage2_runs(parameters).values()))
    }


def encoder_runs(parameters: TrainingParameters, encoder: str) -> list[Run]:
    """Return the phases that train ``encoder``, as ``dcr`` or ``dcr@1``, under ``parameters``."""
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


def approximations(run: Run) -> list[str]:
    """Return in words what makes the loss or gradient of ``run`` inexact, empty if nothing."""
    found: list[str] = []
    if run.objective != "dcr":
        return found
    if count := run.parameters.batches.negatives_count:
        found.append(
            f"{count} sampled negatives stand for all (their sum in the denominator is scaled up)"
        )
    if not run.loss.negatives_gradient:
        found.append("no gradient flows through the negatives")
    return found
