"""The record of the demo's base models: what they were made from, and whether they still are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from dcr.files import sha256_file
from dcr.parameters import PretrainingParameters


def fingerprint(parameters: PretrainingParameters, shards: Sequence[str]) -> str:
    """Return a sha256 over everything the base models depend on: their parameters and the bytes of the shards.

    The parameters of the scenes need no part in it: what they change, they change in the shards.
    """
    digest = hashlib.sha256(parameters.model_dump_json().encode())
    for shard in shards:
        digest.update(sha256_file(shard).encode())
    return digest.hexdigest()


def is_current(previous: Mapping[str, Any], fingerprint: str, hashes: Mapping[str, str | None]) -> bool:
    """Tell whether the models on disk, with these ``hashes``, are those that were recorded for ``fingerprint``."""
    return previous.get("fingerprint") == fingerprint and previous.get("sha256") == dict(hashes)
