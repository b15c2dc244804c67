"""Model folders as Kedro datasets: backbones in, enhanced encoders out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from kedro.io import AbstractDataset

from dcr.datasets.folders import Loaded, OwnedFolderDataset, Saved
from dcr.datasets.ownership import check_ours, owned_folder
from dcr.encoder_names import EncoderName
from dcr.errors import UserError

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone

_LOCAL = "local-dir:"
EncoderParts = tuple["Backbone", dict[str, Any] | None, dict[str, Any]]
"""Backbone with its adapter merged, adapter or None, model card: what `write_encoder` takes."""


class BackboneDataset(AbstractDataset["Backbone", "Backbone"]):
    """``BackboneDataset`` loads an image tower with its text side, and saves one as an open_clip
    folder.

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
        """The local folder that the source names for certain; a bare name may mean a pretrained
        tag.
        """
        return Path(self._source.removeprefix(_LOCAL)) if self._source.startswith(_LOCAL) else None

    def _exists(self) -> bool:
        return self._folder is None or self._folder.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"source": self._source, "made_by": self._made_by}


class _EncodersDataset(OwnedFolderDataset[Saved, Loaded], Generic[Saved, Loaded]):
    """A folder of one encoder or several, loaded to a device."""

    def __init__(
        self,
        *,
        filepath: str,
        made_by: str,
        device: str = "cpu",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Create a dataset of the folder ``filepath``; the others as in `BackboneDataset`."""
        super().__init__(filepath=filepath, made_by=made_by, metadata=metadata)
        self._device = device

    def _load_one(self, folder: Path) -> Backbone:
        from dcr.models.encoder import load_encoder

        return load_encoder(folder, self._device).backbone


class EncoderDataset(_EncodersDataset[EncoderParts, "Backbone"]):
    """``EncoderDataset`` saves (backbone, adapter, card) as the export folder and loads it as a
    backbone.

    Example usage for the YAML API:

    .. code-block:: yaml

        encoder:
          type: dcr.datasets.models.EncoderDataset
          filepath: data/06_models/demo/encoder
          made_by: kedro run --pipelines training
    """

    def load(self) -> Backbone:
        return self._load_one(self.require())

    def save(self, data: EncoderParts) -> None:
        """Write ``data``, see `EncoderParts`, as one folder, whole or not at all."""
        from dcr.export.folder import write_encoder

        with owned_folder(self._filepath) as folder:
            write_encoder(folder, *data)


class BaselinesDataset(
    _EncodersDataset[dict[str, Callable[[], EncoderParts]], dict[str, Callable[[], "Backbone"]]]
):
    """``BaselinesDataset`` is a folder of encoder folders, one a method and seed.

    A save takes {name: function that makes the parts}, so that one encoder at a time is in memory,
    and removes the encoders it is not given. A load gives {name: function that loads its backbone},
    in alphabetical order.

    Example usage for the YAML API:

    .. code-block:: yaml

        baselines:
          type: dcr.datasets.models.BaselinesDataset
          filepath: data/06_models/demo/baselines
          made_by: kedro run --pipelines training
    """

    def load(self) -> dict[str, Callable[[], Backbone]]:
        folders = sorted(
            p for p in self.require().iterdir() if p.is_dir() and not p.name.startswith(".")
        )
        return {folder.name: partial(self._load_one, folder) for folder in folders}

    def save(self, data: dict[str, Callable[[], EncoderParts]]) -> None:
        """Write every encoder, one after the other; all of them appear at once, or none.

        Args:
            data: by an encoder's name, the function that makes its parts.

        Raises:
            ValueError: a name is not plain, and so no name for a folder.
        """
        from dcr.export.folder import write_encoder

        with owned_folder(self._filepath) as folder:
            for name, make_parts in data.items():
                if not EncoderName.parse(name).method.isidentifier():
                    raise ValueError(
                        f"an encoder must have a plain name, and @<seed> at most, got {name!r}"
                    )
                write_encoder(folder / name, *make_parts())
