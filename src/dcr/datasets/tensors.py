"""Kedro dataset for a flat dict of tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from dcr.errors import UserError
from dcr.files import atomic_path
from dcr.finite import require_finite

if TYPE_CHECKING:
    import torch


class SafetensorsDataset(AbstractDataset[dict[str, "torch.Tensor"], dict[str, "torch.Tensor"]]):
    """A dict of finite tensors in one safetensors file, written whole or not at all.

    Args:
        filepath: the safetensors file.
        made_by: the command that makes it, told when it is missing or damaged.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        projector:
          type: dcr.datasets.tensors.SafetensorsDataset
          filepath: data/06_models/demo/projector.safetensors
          made_by: kedro run --pipelines training

    Python example:
        >>> dataset = SafetensorsDataset(filepath="w.safetensors", made_by="...")
        >>> dataset.save({"weight": torch.zeros(2)})
    """

    def __init__(
        self, *, filepath: str, made_by: str, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._made_by = made_by
        self.metadata = metadata

    def load(self) -> dict[str, torch.Tensor]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if not self._filepath.is_file():
            raise UserError(f"{self._filepath} does not exist; make it with `{self._made_by}`")
        try:
            tensors = load_file(self._filepath)
        except SafetensorError as exc:
            raise UserError(
                f"{self._filepath} is not a whole safetensors file ({exc}); make it again with"
                f" `{self._made_by}`"
            ) from exc
        require_finite(tensors, str(self._filepath), f"make it again with `{self._made_by}`")
        return tensors

    def save(self, data: dict[str, torch.Tensor]) -> None:
        """Write the tensors in ``data``, by name; raises UserError if one is not finite."""
        from safetensors.torch import save_file

        require_finite(
            data, f"what is to become {self._filepath}", f"mend what makes it, `{self._made_by}`"
        )
        with atomic_path(self._filepath) as path:
            save_file(data, path)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
