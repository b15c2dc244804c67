"""The methods: each computes its loss on a batch and leaves gradients in the model.

The UNet's graph is the large one, so predictions are walked in chunks: each chunk's loss is sent
back at once as far as the conditions, which are leaves there, and the tower and projector see one
backward at the end.

Notation: B batch, R rows in a chunk, K columns of a row, V views of an image, N negatives, d width
of image features, m condition width, C x h x w latent shape. Where the condition is of tokens, (B,
m) below is (B, tokens, m).
"""

from dcr.training.objectives.base import Objective
from dcr.training.objectives.dcr import DcrObjective
from dcr.training.objectives.naive import NaiveObjective
from dcr.training.objectives.reconstruction import ReconstructionObjective

__all__ = ["OBJECTIVES", "Objective"]

OBJECTIVES: dict[str, type[Objective]] = {
    "dcr": DcrObjective,
    "reconstruction": ReconstructionObjective,
    "naive": NaiveObjective,
}
