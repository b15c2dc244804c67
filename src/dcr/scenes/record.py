"""The record of the demo's images: what they were drawn from, and whether they are still that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcr.fingerprints import code_hash, fingerprint
from dcr.parameters import ScenesParameters


def scenes_fingerprint(parameters: ScenesParameters) -> str:
    """Return a sha256 over all that the images' bytes depend on: code and ``parameters``.

    ``n_jobs`` is no part.
    """
    values = {name: value for name, value in parameters.model_dump().items() if name != "n_jobs"}
    return fingerprint(parameters=values, code=code_hash("dcr.scenes.sets", "dcr.scenes.voc"))


def is_drawn(
    name: str, previous: Mapping[str, Any], expected: str, hashes: Mapping[str, str | None]
) -> bool:
    """Tell whether a folder of the demo's images is the one that was recorded.

    Args:
        name: of the folder, in the record and in ``hashes``.
        previous: the record of the last run, empty without one.
        expected: what :func:`scenes_fingerprint` gives for this run.
        hashes: sha256 of each folder as it is now, None where it is missing.
    """
    recorded = previous.get("sha256", {}).get(name)
    return (
        previous.get("fingerprint") == expected
        and recorded is not None
        and recorded == hashes[name]
    )
