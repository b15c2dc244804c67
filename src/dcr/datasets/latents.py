"""Kedro datasets for the latent cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from kedro.io import AbstractDataset, DatasetError

if TYPE_CHECKING:
    from dcr.latents import LatentCache, LatentPlan, OnlineLatents
    from dcr.positives.synthesis import SynthesisPlan

Saved = TypeVar("Saved")


class _CacheDataset(AbstractDataset[Saved, "LatentCache | OnlineLatents"], Generic[Saved]):
    """What the datasets of latent shards have in common: where they lie and how they are read."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> LatentCache | OnlineLatents:
        from dcr.latents import open_latents

        return open_latents(self._filepath)

    def _exists(self) -> bool:
        return (self._filepath / "plan.json").exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class LatentsDataset(_CacheDataset["LatentPlan"]):
    """A folder of latent shards.

    ``save`` takes a `LatentPlan` and computes what the folder lacks of it, one shard at a time,
    each written whole or not at all; shards that are current are not touched, those that no longer
    belong are removed. ``load`` gives random access to the samples.

    Args:
        filepath: the folder of shards.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        latents:
          type: dcr.datasets.latents.LatentsDataset
          filepath: data/05_model_input/demo/latents

    Python example:
        >>> LatentsDataset(filepath="latents").load()[0]["crop"].shape
        (224, 224, 3)
    """

    def save(self, data: LatentPlan) -> None:
        """Compute what the folder lacks of the plan ``data``."""
        data.write(self._filepath)


class RepairedLatentsDataset(_CacheDataset[tuple["LatentPlan", list[str]]]):
    """The same folder when it is repaired: ``save`` takes a plan, and shards to compute again.

    YAML example:

        repaired_latents:
          type: dcr.datasets.latents.RepairedLatentsDataset
          filepath: data/05_model_input/demo/latents
    """

    def save(self, data: tuple[LatentPlan, list[str]]) -> None:
        """Compute the shards named in ``data``, a plan and names, and what the folder lacks."""
        plan, failing = data
        plan.write(self._filepath, again=failing)


class LatentFolderDataset(AbstractDataset[Path, Path]):
    """Where latent shards lie, for a check that trusts none of them; it need not exist.

    Args:
        filepath: the folder; it need not exist.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        latent_folder:
          type: dcr.datasets.latents.LatentFolderDataset
          filepath: data/05_model_input/demo/latents
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> Path:
        return self._filepath

    def save(self, data: Path) -> None:
        """Refuse ``data``: a check changes nothing."""
        raise DatasetError(
            "a folder to check is read-only: latent shards are written by the entry `latents`"
        )

    def _exists(self) -> bool:
        return True  # a missing folder is a finding, not an error

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class SyntheticPositivesDataset(AbstractDataset["SynthesisPlan", "LatentCache"]):
    """A folder of shards with positives made of every cached image.

    ``save`` takes a `SynthesisPlan` and makes what the folder lacks of it; ``load`` gives random
    access, a candidate an epoch.

    Args:
        filepath: the folder of shards.
        metadata: for Kedro's plugins alone, such as the layer that Kedro-Viz draws.

    YAML example:

        synthetic_positives:
          type: dcr.datasets.latents.SyntheticPositivesDataset
          filepath: data/05_model_input/demo/synthetic_positives

    Python example:
        >>> SyntheticPositivesDataset(filepath="synthetic_positives").load()[0, 3]["crop"].shape
        (224, 224, 3)
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> LatentCache:
        from dcr.latents import LatentCache
        from dcr.positives.making import PIPELINE

        return LatentCache(self._filepath, PIPELINE)

    def save(self, data: SynthesisPlan) -> None:
        """Make what the folder lacks of the plan ``data``."""
        data.write(self._filepath)

    def _exists(self) -> bool:
        return (self._filepath / "plan.json").exists()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
