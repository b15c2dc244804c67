"""Nodes of pipeline `ingest`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dcr.parameters import IngestParameters


def ingest_images(parameters: IngestParameters) -> Callable[[Path], None]:
    """Pack a folder of captioned images into shards of equal size; equal files give equal bytes.

    Args:
        parameters: section `ingest`: folder, table of captions and its columns, the largest size of
            a shard (megabytes), and the share of images that may fail.
    """
    from dcr.data.shards import Source, write_ingested

    source = Source(
        parameters.images, parameters.table, parameters.path_column, parameters.caption_column
    )
    max_shard_bytes = parameters.max_shard_megabytes * 1_000_000
    share = parameters.max_failed_share
    return partial(
        write_ingested, source=source, max_shard_bytes=max_shard_bytes, max_failed_share=share
    )
