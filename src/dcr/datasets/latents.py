"""Kedro dataset for the latent cache."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro.io import AbstractDataset

from dcr.shards import write_tar

if TYPE_CHECKING:
    from dcr.latents import LatentCache

Members = Callable[[], Iterable[tuple[str, bytes]]]


class LatentsDataset(AbstractDataset):
    """A folder of latent shards.

    ``save`` takes a function per shard name that yields the shard's members, so that one shard at a time is in
    memory; each is written whole or not at all, and shards that are no longer named are removed.

    YAML example:

        latents:
          type: dcr.datasets.latents.LatentsDataset
          filepath: data/05_model_input/demo/latents

    Python example:
        >>> LatentsDataset(filepath="latents").save({"00000": lambda: iter([("a.json", b"{}")])})
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath, self.metadata = Path(filepath), metadata

    def load(self) -> LatentCache:
        from dcr.latents import LatentCache

        return LatentCache(self._filepath)

    def save(self, data: dict[str, Members]) -> None:
        self._filepath.mkdir(parents=True, exist_ok=True)
        for name, members in data.items():
            write_tar(self._filepath / f"{name}.tar", members())
        for path in self._filepath.glob("*.tar"):
            if path.stem not in data:
                path.unlink()

    def _exists(self) -> bool:
        return any(self._filepath.glob("*.tar"))

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
