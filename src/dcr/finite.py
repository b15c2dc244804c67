"""No product that is not finite: tensors are checked where they are read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dcr.errors import UserError

if TYPE_CHECKING:
    import torch


def require_finite(tensors: Mapping[str, torch.Tensor], what: str, advice: str) -> None:
    """Refuse tensors of which one holds NaN or infinity.

    Args:
        tensors: by name; those of integers are passed over.
        what: they are, in words, for the error.
        advice: what to do, for the error.

    Raises:
        UserError: naming the first such tensor.
    """
    for name, tensor in tensors.items():
        if (tensor.is_floating_point() or tensor.is_complex()) and not bool(
            tensor.isfinite().all()
        ):
            raise UserError(f"{what}: {name} holds NaN or infinity; {advice}")
