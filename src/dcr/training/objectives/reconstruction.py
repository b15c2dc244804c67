"""Plain reconstruction: stage 1, and the method that DCR is compared with."""

from __future__ import annotations

from dcr.training.batches import Batch
from dcr.training.objectives.base import Objective, send_back, sum_up


class ReconstructionObjective(Objective):
    """Mean squared error between prediction and target, as DIVA and GenHancer minimise."""

    def step(self, batch: Batch, rows_per_chunk: int) -> dict[str, float]:
        """Add the gradients of a ``batch``, by ``rows_per_chunk``; see `Objective.step`."""
        features, projections = self.precision.encode(self.model, batch.pixels, batch.features)
        leaf = projections.detach().requires_grad_()
        chunks = self.reconstruct(batch, leaf, rows_per_chunk, weight=1.0)
        pull, feature_gradient = self.pull_to_base(features, batch)
        send_back((features, feature_gradient), (projections, leaf.grad))
        sums, parts = sum_up(chunks, pull)
        loss = sums.pop("loss") + sum(parts.values())
        return {**parts, "loss": loss, **sums}
