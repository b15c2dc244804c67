"""The CLIP model to enhance as a Kedro dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from dcr.datasets.ownership import check_ours, owned_folder
from dcr.errors import UserError

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

_LOCAL = "local-dir:"


class BackboneDataset(AbstractDataset["Backbone", "Backbone"]):
    """``BackboneDataset`` loads an image tower with its text side; saves an open_clip folder.

    Every load reads the files anew, so no node sees what another has changed.

    Example usage for the YAML API:

    .. code-block:: yaml

        backbone:
          type: dcr.datasets.models.BackboneDataset
          source: local-dir:data/06_models/demo/base/clip
          made_by: kedro run --pipelines scenes

    Example usage for the Python API:

    .. code-block:: pycon

        >>> dataset = BackboneDataset(source="local-dir:data/06_models/demo/base/clip")
        >>> dataset.load().image_size
        32
    """

    def __init__(
        self,
        *,
        source: str,
        made_by: str | None = None,
        device: str = "cpu",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Create a dataset.

        Args:
            source: see `dcr.models.backbones.load_backbone`.
            made_by: the command that makes a local folder, told when it is missing.
            device: where the model is loaded to.
            metadata: ignored by Kedro, read by its plugins.
        """
        self._source = source
        self._made_by = made_by
        self._device = device
        self.metadata = metadata

    def load(self) -> Backbone:
        from dcr.models.backbones import load_backbone

        self.require()
        return load_backbone(self._source, self._device)

    def save(self, data: Backbone) -> None:
        """Write the backbone ``data`` as an open_clip folder, whole or not at all."""
        from dcr.export.folder import write_open_clip

        with owned_folder(self._target()) as folder:
            write_open_clip(folder, data)

    def check_target(self) -> None:
        """Raise UserError if there is no folder to save to, or it holds what others made."""
        check_ours(self._target())

    def _target(self) -> Path:
        if self._folder is None:
            raise UserError(
                f"backbone {self._source} is no place to save a model: that is written as an"
                f" open_clip folder only, {_LOCAL}<folder>; a recipe with a backbone of its own"
                " does without the pipeline that makes one"
            )
        return self._folder

    def require(self) -> None:
        """Raise UserError if the weights are not on this machine; reads none of them."""
        if not self._exists():
            hint = f"make it with `{self._made_by}`" if self._made_by else "check the path"
            raise UserError(f"{self._folder} does not exist; {hint}")
        from dcr.data.sources import backbone_location

        backbone_location(self._source)

    @property
    def _folder(self) -> Path | None:
        """The local folder that the source names for certain.

        A bare name may mean a pretrained tag.
        """
        return Path(self._source.removeprefix(_LOCAL)) if self._source.startswith(_LOCAL) else None

    def _exists(self) -> bool:
        return self._folder is None or self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source, "made_by": self._made_by}
