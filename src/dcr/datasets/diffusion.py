"""Kedro dataset for a latent-diffusion model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from dcr.datasets.ownership import check_ours, owned_folder
from dcr.errors import UserError

if TYPE_CHECKING:
    from dcr.models.diffusion import Diffusion


class DiffusionDataset(AbstractDataset["Diffusion", "Diffusion"]):
    """A diffusers model: a local folder, or a hub id or short name that can only be loaded.

    Args:
        source: see `dcr.models.diffusion.load_diffusion`.
        device: where the model is loaded to.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        diffusion:
          type: dcr.datasets.diffusion.DiffusionDataset
          source: data/06_models/demo/base/diffusion

    Python example:
        >>> DiffusionDataset(source="data/06_models/demo/base/diffusion").load().num_timesteps
        1000
    """

    def __init__(
        self, *, source: str, device: str = "cpu", metadata: dict[str, Any] | None = None
    ) -> None:
        self._source = source
        self._device = device
        self.metadata = metadata

    def load(self) -> Diffusion:
        from dcr.models.diffusion import load_diffusion

        return load_diffusion(self._source, self._device)

    def require(self) -> None:
        """Raise UserError if the weights are not on this machine; reads none of them."""
        from dcr.data.sources import diffusion_folder

        diffusion_folder(self._source)

    def save(self, data: Diffusion) -> None:
        """Write the model ``data`` as a whole folder or not at all.

        A folder that this project made is replaced.
        """
        with owned_folder(self._target()) as folder:
            data.save(folder)

    def check_target(self) -> None:
        """Raise UserError if there is no folder to save to, or it holds what others made."""
        check_ours(self._target())

    def _target(self) -> Path:
        from dcr.data.sources import STABLE_DIFFUSION, parse_hub_model

        folder = Path(self._source)
        if not folder.exists() and (
            self._source in STABLE_DIFFUSION or parse_hub_model(self._source)
        ):
            raise UserError(
                f"diffusion {self._source} names a model of the hub, which is no place to save one:"
                " a recipe with a diffusion model of its own does without the pipeline that"
                " makes one"
            )
        return folder

    def _exists(self) -> bool:
        return (Path(self._source) / "unet" / "config.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source}
