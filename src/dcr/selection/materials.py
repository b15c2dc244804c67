"""What all candidates start from and are measured on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dcr.errors import UserError
from dcr.evaluation import EvaluationCache, EvaluationOptions, Result, evaluate_encoders
from dcr.evaluation.provenance import evaluation_course
from dcr.fingerprints import code_hash, json_hash, tensors_hash
from dcr.latents import LatentCache
from dcr.parameters import EvaluationParameters, TrainingParameters
from dcr.positives.making import PIPELINE
from dcr.training.fingerprint import input_hashes
from dcr.training.job import Latents

if TYPE_CHECKING:
    from dcr.data.benchmark_sets import NamedSet
    from dcr.models.backbones import Backbone
    from dcr.models.diffusion import Diffusion

Encoders = Mapping[str, Callable[[], "Backbone"]]


@dataclass(frozen=True)
class Materials:
    """What all candidates start from and are measured on.

    Attributes:
        latents, backbone, diffusion, positives: as `dcr.training.job.open_job` takes them.
        projector: the weights that stage 1 left.
        checkpoints: folder under which each candidate's trainings have folders of their own.
        sets: validation sets; others are not read.
        evaluation: the recipe's section.
        cache: of embeddings and results.
    """

    latents: Latents
    backbone: Backbone
    diffusion: Diffusion
    positives: Path
    projector: Mapping[str, torch.Tensor]
    checkpoints: Path
    sets: Sequence[NamedSet]
    evaluation: EvaluationParameters
    cache: EvaluationCache

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Hashes of data and models; ask for them before a training casts the models."""
        return input_hashes(self.latents, self.backbone, self.diffusion)

    def hashes_for(self, training: TrainingParameters) -> dict[str, str]:
        """Return the hashes of what a ``training`` reads.

        Those of synthetic positives are left out unless it trains with them.
        """
        if training.positives.source != "synthetic":
            return self.hashes
        return self.hashes | {"positives": LatentCache(self.positives, PIPELINE).fingerprint()}

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What every outcome depends on beside the candidate and its training's data, by name."""
        course = {
            key: value for key, value in evaluation_course(self.evaluation).items() if key != "sets"
        }
        return {
            "projector": tensors_hash(dict(self.projector)),
            "evaluation": json_hash(course),
            "sets": {entry.name: entry.open().fingerprint for entry in self.sets},
            "code": code_hash("dcr.selection.trial"),
        }

    def evaluate(self, encoders: Encoders) -> dict[str, list[Result]]:
        """Return the results of ``encoders`` by name, on these sets; see `evaluate`."""
        return evaluate(encoders, self.sets, self.evaluation, self.cache)


def evaluate(
    encoders: Encoders,
    sets: Sequence[NamedSet],
    evaluation: EvaluationParameters,
    cache: EvaluationCache,
) -> dict[str, list[Result]]:
    """Return the results of encoders by name.

    Args:
        encoders: what loads each, by name; one at a time is in memory.
        sets: those to evaluate on. evaluation: how, the recipe's section. cache: of embeddings and
            results.

    Raises:
        UserError: a set or an encoder cannot be evaluated, so that candidates cannot be compared.
    """
    results, failures = evaluate_encoders(encoders, sets, EvaluationOptions.of(evaluation), cache)
    if failures:
        raise UserError(failures[0].error)
    return results
