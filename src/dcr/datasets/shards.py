"""Kedro dataset for image-text shards."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from dcr.data.shards import find_shards, list_shards
from dcr.datasets.ownership import check_ours, owned_folder
from dcr.errors import UserError

if TYPE_CHECKING:
    from dcr.data.shards.listing import ShardListing

logger = logging.getLogger(__name__)


class ShardsDataset(AbstractDataset[Callable[[Path], None], list[str]]):
    """WebDataset shards in img2dataset's shape.

    ``load`` gives the sorted paths of the tars. ``save`` takes a function that fills an empty
    folder with all shards: that folder then takes the place of ``filepath``, a local folder that is
    absent, empty, or made here before.

    After a load, ``listing`` says what was found and passed over.

    Args:
        filepath: a folder, a glob, a brace pattern (``name-{000000..000999}.tar``), an fsspec URL,
            or a list; see `dcr.data.shards.find_shards`.
        made_by: what to tell a user who has none.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        shards:
          type: dcr.datasets.shards.ShardsDataset
          filepath: data/01_raw/demo/shards
          made_by: kedro run --pipelines scenes

    Python example:
        >>> samples = [Sample("0", b"...")]
        >>> dataset = ShardsDataset(filepath="shards")
        >>> dataset.save(lambda folder: write_shard(folder, "00000", samples))
    """

    def __init__(
        self,
        *,
        filepath: str | list[str],
        made_by: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._filepath = filepath
        self._made_by = made_by
        self.metadata = metadata
        self.listing: ShardListing | None = None

    def load(self) -> list[str]:
        try:
            listing = find_shards(self._filepath)
        except UserError as exc:
            made = f"make them with `{self._made_by}`" if self._made_by else None
            hint = f"; {made or 'name your own as `shards` in the globals.yml of the recipe'}"
            raise UserError(f"{exc}{hint}") from exc
        named = (
            self._filepath
            if isinstance(self._filepath, str)
            else f"a list of {len(self._filepath)}"
        )
        logger.info("%s: %s", named, listing.describe())
        self.listing = listing
        return listing.shards

    def save(self, data: Callable[[Path], None]) -> None:
        """Let ``data`` fill an empty folder with all shards."""
        with owned_folder(self._target()) as folder:
            data(folder)

    def check_target(self) -> None:
        """Raise UserError if there is no folder to save to, or it holds what others made."""
        check_ours(self._target())

    def _target(self) -> Path:
        place = self._filepath
        if isinstance(place, str):
            is_pattern = any(mark in place for mark in (*"*?[{", "://"))
            if not is_pattern or Path(place).is_dir():
                return Path(place)
        raise UserError(f"shards are written to a folder, got {place!r}: name one folder")

    def _exists(self) -> bool:
        try:
            return bool(list_shards(self._filepath))
        except UserError:
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
