"""Random streams named by purpose, so that drawing more for one purpose never shifts another."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


def derive_seed(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed, the same on any machine, of ``seed`` and every part of ``purpose``."""
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU ``torch.Generator`` for ``purpose``, seeded by `derive_seed` from ``seed``."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, *purpose))


def numpy_generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Return a NumPy generator for ``purpose``, seeded by `derive_seed` from ``seed``."""
    import numpy as np

    return np.random.default_rng(derive_seed(seed, *purpose))
