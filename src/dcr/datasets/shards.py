"""Kedro dataset for image-text shards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from dcr.errors import UserError
from dcr.files import atomic_folder
from dcr.shards import Sample, find_shards, list_shards, write_shard
from dcr.shards.ingest import RECORD

logger = logging.getLogger(__name__)


class ShardsDataset(AbstractDataset):
    """WebDataset shards in img2dataset's shape.

    ``load`` gives the sorted paths of the tars. ``save`` writes one shard, given as (name, samples), so that a
    generator node holds one shard at a time; it needs ``filepath`` to be a local folder. Shards that are already there
    under other names are left alone. ``save`` also takes a function that fills an empty folder with all shards: that
    folder then takes the place of ``filepath``, which must be absent, empty, or made by such a function before.

    Args:
        filepath: a folder, a glob, a brace pattern (``name-{000000..000999}.tar``), an fsspec URL, or a list; see
            `dcr.shards.find_shards`.
        made_by: what to tell a user who has none.

    YAML example:

        shards:
          type: dcr.datasets.shards.ShardsDataset
          filepath: data/01_raw/demo/shards
          made_by: kedro run --pipelines scenes

    Python example:
        >>> ShardsDataset(filepath="shards").save(("00000", [Sample("0", b"...", "jpg", "a fish")]))
    """

    def __init__(
        self, *, filepath: str | list[str], made_by: str | None = None, metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath, self._made_by, self.metadata = filepath, made_by, metadata

    def load(self) -> list[str]:
        try:
            listing = find_shards(self._filepath)
        except UserError as exc:
            hint = f"; make them with `{self._made_by}`" if self._made_by else ""
            raise UserError(f"{exc}{hint}") from exc
        logger.info("%s: %s", self._filepath, listing.describe())
        return listing.shards

    def save(self, data: tuple[str, Iterable[Sample]] | Callable[[Path], None]) -> None:
        if not isinstance(self._filepath, str) or any(mark in self._filepath for mark in "*?[{"):
            raise UserError(f"shards are written to a folder, got {self._filepath!r}: name one folder")
        if callable(data):
            self._replace(Path(self._filepath), data)
            return
        name, samples = data
        write_shard(Path(self._filepath), name, samples)

    def _replace(self, folder: Path, fill: Callable[[Path], None]) -> None:
        if folder.exists() and any(folder.iterdir()) and not (folder / RECORD).is_file():
            raise UserError(f"{folder} holds data that `ingest` did not make: name another folder as `shards`")
        with atomic_folder(folder) as temporary:
            fill(temporary)

    def _exists(self) -> bool:
        try:
            return bool(list_shards(self._filepath))
        except UserError:
            return False

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}
