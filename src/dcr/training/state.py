"""What a run must carry to go on exactly: trained weights and AdamW's moments, as one flat dict of tensors."""

from __future__ import annotations

import torch
from torch import nn

from dcr.training.checkpoints import DamagedCheckpoint

_WEIGHT, _MOMENT = "weight:", "adamw:"


def training_state(trainable: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return weights and optimizer state by name; parameters that never had a gradient have no moments."""
    tensors = {f"{_WEIGHT}{name}": parameter.detach() for name, parameter in trainable.items()}
    for name, parameter in trainable.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_MOMENT}{key}:{name}"] = value
    return tensors


def restore_state(
    trainable: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Undo `training_state`, in place; DamagedCheckpoint if the weights are not those that are trained."""
    weights = {name.removeprefix(_WEIGHT): t for name, t in tensors.items() if name.startswith(_WEIGHT)}
    if weights.keys() != trainable.keys():
        raise DamagedCheckpoint("it holds other weights than those that are trained")
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(weights[name])
    for full_name, tensor in tensors.items():
        if full_name.startswith(_MOMENT):
            key, _, name = full_name.removeprefix(_MOMENT).partition(":")
            parameter = trainable[name]
            # AdamW's own rule: moments lie beside the weights, the step count on the CPU
            device = "cpu" if key == "step" else parameter.device
            optimizer.state[parameter][key] = tensor.to(device).clone()
