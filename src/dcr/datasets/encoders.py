"""Kedro dataset for encoders by their sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset, DatasetError

from dcr.errors import UserError

if TYPE_CHECKING:
    from dcr.models.backbones import Backbone


class EncodersDataset(AbstractDataset[object, dict[str, Callable[[], "Backbone"]]]):
    """Named encoders, each loaded when it is asked for.

    ``load`` gives {name: function that loads its backbone}.

    YAML example:

        more_encoders:
          type: dcr.datasets.encoders.EncodersDataset
          sources: {openai: ViT-L-14-quickgelu/openai}

    Python example:
        >>> EncodersDataset(sources={"openai": "ViT-L-14-quickgelu/openai"}).load()["openai"]()
    """

    def __init__(
        self,
        *,
        sources: dict[str, str],
        device: str = "cpu",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Create a dataset of encoders by name.

        Args:
            sources: by name, what `dcr.models.backbones.load_backbone` takes.
            device: where encoders are loaded to.
            metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.
        """
        for name in sources:
            if not str(name).isidentifier():
                raise UserError(
                    f"more_encoders: a name must be a plain word, as my_encoder, got {name!r}"
                )
        self._sources = dict(sources)
        self._device = device
        self.metadata = metadata

    def load(self) -> dict[str, Callable[[], Backbone]]:
        from dcr.models.backbones import load_backbone

        return {
            name: partial(load_backbone, source, self._device)
            for name, source in self._sources.items()
        }

    def save(self, data: object) -> None:
        """Refuse ``data``: an encoder lies where its source says."""
        raise DatasetError("encoders are named by their sources and cannot be saved here")

    def _exists(self) -> bool:
        return True  # each source tells at loading whether it is there

    def _describe(self) -> dict[str, Any]:
        return {"sources": self._sources}
