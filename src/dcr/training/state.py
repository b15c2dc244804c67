"""AdamW, and what a run must carry to go on exactly, as one flat dict of tensors.

They are trained weights and AdamW's moments.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from dcr.errors import UserError
from dcr.training.distributed.sharding import full_tensor, shard_like
from dcr.training.runs import Run

_WEIGHT = "weight:"
_MOMENT = "adamw:"


def build_optimizer(trainable: dict[str, torch.nn.Parameter], run: Run) -> torch.optim.AdamW:
    """Return AdamW; where tower and projector train at once, each has its own learning rate.

    Args:
        trainable: the parameters that train, by name; the projector's begin with ``projector.``.
        run: gives learning rates, betas, epsilon and weight decay.
    """
    projector = [p for name, p in trainable.items() if name.startswith("projector.")]
    tower = [p for name, p in trainable.items() if not name.startswith("projector.")]
    groups: list[dict[str, Any]] = [{"params": tower or projector}]
    if projector and tower:
        groups.append({"params": projector, "lr": run.parameters.stage1.learning_rate})
    return torch.optim.AdamW(
        groups,
        lr=run.stage.learning_rate,
        betas=(run.parameters.optimizer.beta1, run.parameters.optimizer.beta2),
        eps=run.parameters.optimizer.epsilon,
        weight_decay=run.parameters.optimizer.weight_decay,
    )


def decay_factor(decay: str, step: int, num_steps: int) -> float:
    """Return the learning rate's factor in an optimizer step, as diffusers' schedules have it.

    The schedules are those without warm-up.

    Args:
        decay: ``none``, ``linear``, (N - k) / N, or ``cosine``, (1 + cos(pi k / N)) / 2, where k
            steps of N are done.
        step: from 1.
        num_steps: of the run.
    """
    share = (step - 1) / num_steps
    return {"none": 1.0, "linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2}[decay]


def set_learning_rate(optimizer: torch.optim.Optimizer, run: Run, step: int) -> float:
    """Set every group's learning rate from the step's number alone; return the first one's.

    Args:
        optimizer: of `build_optimizer`.
        run: gives decay and number of steps.
        step: that is about to be taken, from 1.
    """
    factor = decay_factor(run.stage.learning_rate_decay, step, run.max_train_steps)
    for group in optimizer.param_groups:
        group["lr"] = factor * group.setdefault("initial_lr", group["lr"])
    return float(optimizer.param_groups[0]["lr"])


def training_state(
    trainable: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, keep: bool = True
) -> dict[str, torch.Tensor]:
    """Return weights and optimizer state by name.

    Parameters that never had a gradient have no moments.

    Args:
        trainable: the parameters that train, by name.
        optimizer: of `build_optimizer`.
        keep: nothing is returned without it. Of sharded tensors every process must bring its part,
            whoever keeps them.
    """
    tensors = {f"{_WEIGHT}{name}": parameter.detach() for name, parameter in trainable.items()}
    for name, parameter in trainable.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_MOMENT}{key}:{name}"] = value
    # One at a time, since full tensors are large.
    found = ((name, full_tensor(tensor)) for name, tensor in tensors.items())
    return {name: tensor.cpu() for name, tensor in found if keep}


def restore_state(
    trainable: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, torch.Tensor],
) -> None:
    """Undo `training_state`, in place.

    Args:
        trainable: the parameters that train, by name.
        optimizer: of `build_optimizer`.
        tensors: what `training_state` returned.

    Raises:
        UserError: the weights are not those that are trained.
    """
    weights = {
        name.removeprefix(_WEIGHT): t for name, t in tensors.items() if name.startswith(_WEIGHT)
    }
    if {name: t.shape for name, t in weights.items()} != {
        name: p.shape for name, p in trainable.items()
    }:
        raise UserError(
            "the checkpoint holds other weights than those that are trained; set"
            " training.checkpoints.resume_from to none"
        )
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(shard_like(weights[name], parameter))
    for full_name, tensor in tensors.items():
        if full_name.startswith(_MOMENT):
            key, _, name = full_name.removeprefix(_MOMENT).partition(":")
            parameter = trainable[name]
            # AdamW's own rule: moments lie beside the weights, the step count on the CPU
            moment = tensor if key == "step" else shard_like(tensor, parameter)
            optimizer.state[parameter][key] = moment.clone()
