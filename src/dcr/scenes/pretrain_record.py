"""The record of the demo's base models: what they were made from, and whether they still are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dcr.files import json_hash, sha256_file
from dcr.parameters import PretrainingParameters
from dcr.source_graph import sources_hash

_CHECKS = {"check_draws", "check_condition", "min_known_details"}
_CODE = (
    "scenes/pretrain.py",
    *(f"scenes/pretrain_{name}.py" for name in ("clip", "data", "text", "unet", "vae")),
    *("scenes/world.py", "convert.py", "decoding.py", "diffusion.py", "seeds.py", "tokenizers.py"),
)


def fingerprint(parameters: PretrainingParameters, shards: Sequence[str]) -> str:
    """Return a sha256 over everything the base models depend on: parameters, the bytes of the shards, and the code.

    The parameters of the scenes need no part in it: what they change, they change in the shards. Those of the checks
    change no weight.
    """
    values = parameters.model_dump(exclude=_CHECKS)
    return json_hash({"parameters": values, "shards": [sha256_file(s) for s in shards], "code": sources_hash(*_CODE)})


def checks_fingerprint(parameters: PretrainingParameters) -> str:
    """Return a sha256 over what the measures of given models depend on."""
    values = parameters.model_dump(include={"check_draws"})
    return json_hash({"parameters": values, "code": sources_hash("scenes/pretrain_checks.py")})


def is_current(previous: Mapping[str, Any], fingerprint: str, hashes: Mapping[str, str | None]) -> bool:
    """Tell whether the models on disk, with these ``hashes``, are those that were recorded for ``fingerprint``."""
    return previous.get("fingerprint") == fingerprint and previous.get("sha256") == dict(hashes)
