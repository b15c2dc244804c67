"""One candidate: trained with every seed of the search, aligned, evaluated, compared with base."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dcr.alignment import both_forms
from dcr.alignment.fitting import align_encoders
from dcr.encoder_names import BASE, EncoderName, aligned_name, unaligned_name
from dcr.evaluation.comparison import comparison_records
from dcr.evaluation.judge import Judge
from dcr.evaluation.measurements import measure
from dcr.evaluation.results import Result
from dcr.evaluation.tables import scores_table
from dcr.fingerprints import json_hash
from dcr.parameters import AlignmentParameters, TrainingParameters
from dcr.parameters.selection import Candidate
from dcr.selection.materials import Encoders, Materials
from dcr.selection.setting import describe_setting
from dcr.training import jobs
from dcr.training.encoders import build_encoder
from dcr.training.job import State, open_job
from dcr.training.product import describe_run
from dcr.training.runs import Run, method_runs

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

Outcome = Mapping[str, Any]
"""What became of a candidate, as plain values; see `Trial.perform`."""


@dataclass(frozen=True)
class Trial:
    """A candidate on its way through the search.

    Attributes:
        candidate: as the recipe declares it.
        training, alignment: the recipe's sections with the candidate's values.
        seeds: of stage 2.
    """

    candidate: Candidate
    training: TrainingParameters
    alignment: AlignmentParameters
    seeds: Sequence[int]

    @property
    def setting(self) -> dict[str, Any]:
        """See `dcr.selection.setting`."""
        return describe_setting(self.training, self.alignment)

    @property
    def runs(self) -> list[Run]:
        """Every run of every seed."""
        return list(chain.from_iterable(self._runs_of(seed) for seed in self.seeds))

    def folders(self, materials: Materials) -> list[Path]:
        """Return where the checkpoints of every run are, below those of the ``materials``."""
        return [
            self._folder(materials, seed) / run.name
            for seed in self.seeds
            for run in self._runs_of(seed)
        ]

    @property
    def made_of_itself(self) -> dict[str, Any]:
        """What of the recipe's declaration the outcome depends on, by name."""
        return {"setting": json_hash(self.setting), "seeds": list(self.seeds)}

    def made_of(self, materials: Materials) -> dict[str, Any]:
        """Return by name all that the outcome depends on if started from ``materials``."""
        return {
            **self.made_of_itself,
            **materials.hashes_for(self.training),
            **materials.fingerprint,
        }

    def perform(
        self, materials: Materials, finished: list[Path], before: Outcome
    ) -> dict[str, Any]:
        """Return the candidate's outcome.

        Args:
            materials: what all candidates start from and are measured on.
            finished: folders of runs that are finished, from whose checkpoints a run that begins in
                the same way goes on; the folders of these runs are appended.
            before: the outcome that stood under this name, {} for none.

        Returns:
            ``candidate`` and its ``overrides``; its ``setting``, and hashes of all
            ``settings_tried`` under this name; what it is ``made_of``; ``method`` and ``runs`` by
            seed; ``scores`` by encoder; ``comparisons`` of the product over its seeds, by what it
            is compared with; ``seconds``.
        """
        started = time.monotonic()
        towers: dict[str, State] = {}
        runs: dict[str, dict[str, Any]] = {}
        for seed in self.seeds:
            trained = self._train(materials, seed, finished)
            towers[str(EncoderName(self.training.method, seed=seed))] = trained.towers[
                self.training.method
            ]
            told = {
                run.name: describe_run(run, trained.runs[run.name]) for run in self._runs_of(seed)
            }
            runs[str(seed)] = told
        results = materials.evaluate(self._encoders(materials, towers))
        setting = self.setting
        return {
            "candidate": self.candidate.name,
            "overrides": {
                "training": self.candidate.training,
                "alignment": self.candidate.alignment,
            },
            "setting": setting,
            "settings_tried": sorted({json_hash(setting), *before.get("settings_tried", [])}),
            "made_of": self.made_of(materials),
            "method": self.training.method,
            "runs": runs,
            "scores": scores_table(results),
            "comparisons": self._compare(results, materials.evaluation.confidence),
            "seconds": round(time.monotonic() - started, 2),
        }

    def _of_seed(self, seed: int) -> TrainingParameters:
        """Return the parameters with one seed of the search in place of all of the recipe's."""
        kept_here = {"resume_from": "latest", "sync": None}
        checkpoints = self.training.checkpoints.model_copy(update=kept_here)
        alone = {"seed": seed, "stage2_seeds": [], "baselines": [], "checkpoints": checkpoints}
        return self.training.model_copy(update=alone)

    def _runs_of(self, seed: int) -> list[Run]:
        return method_runs(self._of_seed(seed), self.training.method)

    def _folder(self, materials: Materials, seed: int) -> Path:
        return materials.checkpoints / self.candidate.name / f"seed-{seed}"

    def _train(self, materials: Materials, seed: int, finished: list[Path]) -> jobs.Trained:
        m = materials
        training = self._of_seed(seed)
        job = open_job(
            training, m.latents, m.backbone, m.diffusion, self._folder(m, seed), m.positives
        )
        job.hashes = m.hashes_for(training)  # an earlier training may have cast the models
        job.done = finished
        return jobs.train_adapters(job, dict(m.projector))

    def _encoders(self, materials: Materials, towers: Mapping[str, State]) -> Encoders:
        """Return what loads the base and each seed's encoder, in both forms where aligned."""
        encoders: dict[str, Callable[[], Backbone]] = {BASE: lambda: materials.backbone}
        encoders |= {
            name: partial(build_encoder, self.training, materials.backbone, weights)
            for name, weights in towers.items()
        }
        if self.alignment.form == "none":
            return encoders
        fraction = self.training.held_out.fraction
        maps, record = align_encoders(self.alignment, materials.latents, fraction, encoders)
        return both_forms(
            encoders, {name: partial(dict, own) for name, own in maps.items()}, record
        )

    def _compare(self, results: Mapping[str, list[Result]], confidence: float) -> dict[str, Any]:
        """Compare the product with the base, and where aligned with the base aligned and itself."""
        method = self.training.method
        others = [BASE]
        if self.alignment.form != "none":
            others += [aligned_name(BASE), unaligned_name(method)]
        judge = Judge(measure(results), confidence, {method})
        return {other: comparison_records(judge.compare(other, method)) for other in others}
