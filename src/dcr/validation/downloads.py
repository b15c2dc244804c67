"""What img2dataset's json and stats tell of downloads, which are not always the images it stores.

Its ``sha256`` is that of the download. Where it resized or encoded an image again, which it does by
default, the image stored has another, and the declared one says nothing; ``original_width`` and
``original_height`` are its mark. So a mismatch counts unless the json says that the image was
resized, or most images of the shard differ that were not: then all were encoded again. Jsons of
other tools declare what they hold, and each counts.
"""

from __future__ import annotations

import json
from typing import Any

from dcr.data.remote import NoSize, exists, open_file
from dcr.errors import UserError

_MAX_STATS_BYTES = 1 << 20


def hash_of_download(metadata: dict[str, Any]) -> bool:
    """Tell whether the sha256 in ``metadata`` is that of the download.

    The image stored may have other bytes.
    """
    return "original_width" in metadata and "original_height" in metadata


def was_resized(metadata: dict[str, Any]) -> bool:
    """Tell whether ``metadata`` say that the image stored and the download differ in size."""
    sizes = [(metadata.get(side), metadata.get(f"original_{side}")) for side in ("width", "height")]
    return hash_of_download(metadata) and any(stored != original for stored, original in sizes)


class EncodedAgain:
    """Finds out over a shard whether its images were encoded again after the download.

    Attributes:
        doubtful: numbers of the samples whose hash differs and may have been meant to.
    """

    def __init__(self) -> None:
        self.doubtful: list[int] = []
        self._agreeing = 0

    def add(
        self, number: int, metadata: dict[str, Any], declared: str | None, actual: str | None
    ) -> None:
        """Note one sample's hashes.

        Args:
            number: of the sample in its shard, counted from 0.
            metadata: its json.
            declared: the sha256 that the json states, None without one.
            actual: that of the bytes stored, None without an image.
        """
        if None in (declared, actual) or not hash_of_download(metadata) or was_resized(metadata):
            return
        if declared == actual:
            self._agreeing += 1
        else:
            self.doubtful.append(number)

    def __bool__(self) -> bool:
        return len(self.doubtful) > self._agreeing


def all_failed(shard: str) -> bool:
    """Tell whether img2dataset's stats of ``shard`` say that it tried and no download succeeded.

    They are a hint: what is no JSON, or of no size that the store tells, says nothing.

    Raises:
        UserError: they are at a store that does not answer.
    """
    path = f"{shard.removesuffix('.tar')}_stats.json"
    if not exists(path):
        return False
    try:
        with open_file(path, whole=False) as file:
            stats = json.loads(file.read(_MAX_STATS_BYTES))
    except NoSize:
        return False
    except UserError:
        raise
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(stats, dict)
        and stats.get("successes") == 0
        and isinstance(stats.get("count"), int)
    )
