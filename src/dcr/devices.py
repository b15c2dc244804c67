"""Where models run."""

from __future__ import annotations

import torch

from dcr.errors import UserError


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device by name; ``auto`` is the first accelerator that PyTorch finds, else the CPU.

    Raises:
        UserError: no such device on this machine.
    """
    if device == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError) as exc:
        raise UserError(
            f"device {device!r} is not to be had here ({str(exc).splitlines()[0]}); use auto or cpu"
        ) from exc
