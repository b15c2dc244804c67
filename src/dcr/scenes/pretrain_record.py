"""The record of the demo's base models: what they were made from, and whether they still are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dcr import fingerprints
from dcr.files import sha256_file
from dcr.fingerprints import code_hash
from dcr.parameters import PretrainingParameters

_CHECKS = {"check_draws", "check_condition", "min_known_details"}


def fingerprint(parameters: PretrainingParameters, shards: Sequence[str]) -> str:
    """Return a sha256 over all that base models depend on: parameters, shards' bytes, code.

    The parameters of the scenes need no part in it: what they change, they change in the shards.
    Those of the checks change no weight.

    Args:
        parameters: all but those of the checks take part.
        shards: paths of the tars that the models are trained on.
    """
    values = parameters.model_dump(exclude=_CHECKS)
    data = [sha256_file(shard) for shard in shards]
    return fingerprints.fingerprint(
        parameters=values, shards=data, code=code_hash("dcr.scenes.pretrain")
    )


def checks_fingerprint(parameters: PretrainingParameters) -> str:
    """Return a sha256 over what measures of given models depend on: ``parameters`` and code."""
    values = parameters.model_dump(include={"check_draws"})
    return fingerprints.fingerprint(parameters=values, code=code_hash("dcr.scenes.pretrain_checks"))


def is_current(
    previous: Mapping[str, Any], fingerprint: str, hashes: Mapping[str, str | None]
) -> bool:
    """Tell whether the models on disk are those that were recorded for ``fingerprint``.

    Args:
        previous: the record of the last run, empty without one.
        fingerprint: of what the models shall be made from, see :func:`fingerprint`.
        hashes: sha256 of each model as it is on disk, None where it is missing.
    """
    return previous.get("fingerprint") == fingerprint and previous.get("sha256") == dict(hashes)
