"""The record of the demo's images: what they were drawn from, and whether they still are what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcr.fingerprints import code_hash, fingerprint
from dcr.parameters import ScenesParameters


def scenes_fingerprint(parameters: ScenesParameters) -> str:
    """Return a sha256 over everything that the images' bytes depend on; how many processes draw them is no part."""
    values = {name: value for name, value in parameters.model_dump().items() if name != "n_jobs"}
    return fingerprint(parameters=values, code=code_hash("dcr.scenes.sets"))


def is_drawn(name: str, previous: Mapping[str, Any], expected: str, hashes: Mapping[str, str | None]) -> bool:
    """Tell whether the folder ``name``, with these ``hashes`` now, is the one that was recorded for ``expected``."""
    recorded = previous.get("sha256", {}).get(name)
    return previous.get("fingerprint") == expected and recorded is not None and recorded == hashes[name]
