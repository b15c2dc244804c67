"""Samples in and out of tars: WebDataset shards in img2dataset's shape, read without trusting them.

A *shard* is one tar; a *sample* is its consecutive members that share a key.
"""

from dcr.data.shards.ingest import write_ingested
from dcr.data.shards.ingest_sources import Source
from dcr.data.shards.listing import ShardListing, find_shards, list_shards
from dcr.data.shards.naming import name_shards, sources_of
from dcr.data.shards.reading import ShardReader, read_samples
from dcr.data.shards.sample import IMAGE_EXTENSIONS, CaptionNames, Sample, split_name
from dcr.data.shards.validated import read_validated
from dcr.data.shards.writing import describe_sample, write_shard, write_tar

__all__ = [
    "IMAGE_EXTENSIONS",
    "CaptionNames",
    "Sample",
    "ShardListing",
    "ShardReader",
    "Source",
    "describe_sample",
    "find_shards",
    "list_shards",
    "name_shards",
    "read_samples",
    "read_validated",
    "sources_of",
    "split_name",
    "write_ingested",
    "write_shard",
    "write_tar",
]
