"""What a run is given beside the models: its data, numbers, peers and place of checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from dcr.devices import deterministic_algorithms
from dcr.errors import UserError
from dcr.latents import LatentCache, OnlineLatents
from dcr.models.backbones import Backbone
from dcr.models.diffusion import Diffusion
from dcr.parameters.training.parts import HeldOut
from dcr.training.batches import Augmentation
from dcr.training.checkpoints import Checkpoints
from dcr.training.contrast import Contrast
from dcr.training.data import (
    in_turn,
    split_positions,
    split_sources,
)
from dcr.training.distributed.processes import Processes, alone
from dcr.training.features import FEATURES, asks_for_features, keep_features, why_not_kept
from dcr.training.mixture import Source
from dcr.training.model import ConditionModel
from dcr.training.precision import cast_frozen
from dcr.training.runs import Run, RunResult
from dcr.training.samples import Samples, WithCandidates, WithFeatures
from dcr.training.step import MicroStep
from dcr.training.trainer import Trainer
from dcr.training.validation import HeldOutNoise

if TYPE_CHECKING:
    from dcr.training.monitoring.monitor import Monitor

_log = logging.getLogger(__name__)


@dataclass
class Data:
    """What both stages read: cached latents, split by key, and a fixed held-out measurement."""

    latents: LatentCache | OnlineLatents
    sources: list[Source]
    held_out: HeldOutNoise
    augmentation: Augmentation
    candidates: LatentCache | None = None

    @classmethod
    def open(
        cls,
        latents: LatentCache | OnlineLatents,
        diffusion: Diffusion,
        augmentation: Augmentation,
        held_out: HeldOut,
        seed: int,
        mask_padding: bool = False,
    ) -> Data:
        """Split the samples and fix the held-out noise.

        Args:
            latents: all samples.
            diffusion, augmentation, seed, mask_padding: see `HeldOutNoise`.
            held_out: the share of the samples that is held out, and how many of them are measured
                on, at most.

        Raises:
            UserError: the fraction leaves no sample on one side, or none of a source to train on.
        """
        positions, others = split_positions(latents, held_out.fraction)
        if not positions or not others:
            raise UserError(
                f"held_out.fraction {held_out.fraction} of {len(latents)} samples leaves"
                f" {len(positions)} to train on and {len(others)} held out; both need at least"
                " one: change it or bring more data"
            )
        noise = HeldOutNoise(
            latents,
            in_turn(latents, others),
            diffusion,
            augmentation,
            seed,
            held_out.num_samples,
            64,
            mask_padding,
        )
        return cls(latents, split_sources(latents, positions), noise, augmentation)

    @property
    def num_crops(self) -> int | None:
        """How many crops are cached; None where they are cut anew in every epoch."""
        if isinstance(self.latents, LatentCache):
            return len(self.latents) * self.latents.crops_per_image
        return None


@dataclass
class Work:
    """What a run is given beside the models.

    It is its data, its numbers, what shows it (a `Monitor`, or what builds one of the same
    arguments), its peers, and where it keeps checkpoints.
    """

    data: Data
    run: Run
    contrast: Contrast
    watch: Callable[..., Monitor]
    processes: Processes = field(default_factory=alone)
    checkpoints: Checkpoints | None = None

    def fit(
        self, model: ConditionModel, diffusion: Diffusion, base: Backbone | None = None
    ) -> RunResult:
        """Train whatever in ``model`` requires a gradient, by the frozen ``diffusion``.

        ``base`` is as in `MicroStep`. What is frozen is left in the run's precision.
        """
        data = self.data
        if not self.run.is_sharded:  # FSDP2 wants weights of one dtype
            for module in (model, base.visual) if base else (model,):
                cast_frozen(module, self.run.parameters.mixed_precision)
        micro_step = MicroStep(
            model,
            diffusion,
            data.augmentation,
            self.run,
            self.contrast,
            self.processes,
            base,
        )
        asks = self.checkpoints is not None and asks_for_features(self.run)
        reason = why_not_kept(self.run, data.num_crops) if asks else None
        micro_step.knows_features = asks and reason is None
        validate = partial(data.held_out.model, model)
        folder = self.checkpoints.folder if self.checkpoints else None
        watch = partial(self.watch, micro_step, folder, data.held_out)
        open_samples = partial(self._open_samples, micro_step, reason)
        trainer = Trainer(micro_step, open_samples, data.sources, validate, self.checkpoints, watch)
        with deterministic_algorithms(self.run.parameters.execution.deterministic):
            try:
                return trainer.fit()
            finally:
                if self.checkpoints is not None:
                    self.checkpoints.finish()

    def _open_samples(self, micro_step: MicroStep, reason: str | None) -> Samples:
        """Return the samples with what ``micro_step`` is to see of each beside its latents.

        The log tells the ``reason`` why features that were asked for are not kept.
        """
        data = self.data
        if reason is not None:
            _log.info("%s: the tower encodes images as they come, since %s.", self.run.name, reason)
        if micro_step.knows_features:
            assert isinstance(data.latents, LatentCache)
            assert self.checkpoints is not None
            folder = self.checkpoints.folder.parent / FEATURES
            features = keep_features(
                data.latents, micro_step.model, folder, self.run, self.processes
            )
            return WithFeatures(data.latents, features)
        if self.contrast.synthetic_weight:
            assert data.candidates is not None  # the job read them
            return WithCandidates(data.latents, data.candidates)
        return data.latents
