"""Precision rules shared by the losses."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor in float32, or in float64 if it has that already."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def unit_vectors(tensor: torch.Tensor, start_dim: int = 1) -> torch.Tensor:
    """Flatten the dimensions from ``start_dim`` on and scale to unit length, at least float32."""
    return F.normalize(at_least_float32(tensor).flatten(start_dim), dim=-1)
