"""What a run is given and what it leaves, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class RunOptions:
    """Numbers of one run; see conf/base/parameters_training.yml for their meaning and units."""

    name: str
    objective: str
    seed: int
    max_train_steps: int
    train_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    adam_weight_decay: float
    max_grad_norm: float
    max_skipped_steps: int
    mixed_precision: str
    constant_prompt: bool
    shared_prefix: bool
    num_workers: int
    validate_every_steps: int
    learning_rate_decay: str = "none"
    gradient_checkpointing: str = "none"
    compile: bool = False
    sharding: str = "none"
    projector_learning_rate: float = 0.0
    published_sampling: bool = False
    published_reduction: bool = False
    published_prompt_mask: bool = False

    @property
    def is_sharded(self) -> bool:
        """Whether every process has a part of the model, so that whatever computes with it is a
        matter of all.
        """
        return self.sharding == "fsdp2"


@dataclass
class RunResult:
    """What a run leaves beside the weights: one row per logged step, and its cost."""

    losses: pd.DataFrame
    steps: int
    skipped_steps: int
    seconds: float
    samples_per_second: float
    trainable_parameters: int
