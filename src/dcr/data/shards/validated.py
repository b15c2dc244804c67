"""Samples read once more, each with exactly the image that was validated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from dcr.data.shards.reading import ShardReader
from dcr.data.shards.sample import Sample
from dcr.errors import UserError


def read_validated(shard: str, hashes: Mapping[int, str]) -> Iterator[Sample]:
    """Yield some samples of a shard, in its order, each with exactly the image that was validated.

    Args:
        shard: its path or URL.
        hashes: hex sha256 of the images, by offset of the sample in the tar, in bytes; one at
            least.

    Raises:
        UserError: the shard does not hold one of the samples, or its image changed since
            validation.
    """
    missing = dict(hashes)
    with ShardReader(shard, start=min(missing), whole=len(missing) > 1) as reader:
        for sample in reader:
            if (image_hash := missing.pop(sample.offset, None)) is None:
                continue
            if sample.image is None or hashlib.sha256(sample.image).hexdigest() != image_hash:
                raise UserError(
                    f"{shard}: sample {sample.key} changed since validation; "
                    "run `kedro run --pipelines validation`"
                )
            yield sample
            if not missing:
                return
    raise UserError(
        f"{shard} changed since validation: no sample at byte {min(missing)}; "
        "run `kedro run --pipelines validation`"
    )
