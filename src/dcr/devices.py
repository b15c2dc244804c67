"""Where models run, and whether that suits their precision."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from dcr.errors import UserError

logger = logging.getLogger(__name__)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the ``device`` of a name; ``auto`` is PyTorch's first accelerator, else the CPU.

    Where torchrun started this process, its own GPU is made PyTorch's current one first: ``auto``
    and ``cuda`` are that one.

    Raises:
        UserError: no such device on this machine.
    """
    if str(device) != "cpu" and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    # float32 means it: by default cuDNN's convolutions round their inputs to TF32's ten bits
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if device == "auto":
        device = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    try:
        return torch.zeros(0, device=device).device
    except (RuntimeError, AssertionError) as exc:
        raise UserError(
            f"device {device!r} is not to be had here ({str(exc).splitlines()[0]}); use auto or cpu"
        ) from exc


@contextmanager
def deterministic_algorithms(wanted: bool) -> Iterator[None]:
    """While open, if ``wanted``, compute by PyTorch's deterministic algorithms alone.

    What has none is refused by a RuntimeError. Products on a GPU need CUBLAS_WORKSPACE_CONFIG,
    which is set here if it is not; cuBLAS reads it once a process.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@lru_cache(maxsize=64)
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return numbers as a tensor on a device, made once.

    A copy from the CPU would wait each time for what the device is at.

    Args:
        values: (N,); the tensor is not to be changed.
        dtype: of the tensor.
        device: where it is.
    """
    # Whoever asks first may be in it, and training could not use the result.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def tell_slow_precision(device: torch.device, mixed_precision: str, section: str) -> None:
    """Warn of a precision that a device computes more slowly than float32, as most processors do.

    Args:
        device: where the model runs.
        mixed_precision: ``no``, ``bf16`` or ``fp16``.
        section: of the parameters that say so.
    """
    if device.type == "cpu" and mixed_precision != "no":
        logger.warning(
            "%s.mixed_precision is %s and the device a CPU, most of which emulate it: slower than"
            " `no` (float32), and less exact",
            section,
            mixed_precision,
        )
