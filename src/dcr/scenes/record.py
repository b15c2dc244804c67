"""The record of the demo's images: what they were drawn from, and whether they still are what was drawn."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from dcr.files import json_hash
from dcr.parameters import ScenesParameters
from dcr.source_graph import sources_hash

_CODE = tuple(f"scenes/{name}.py" for name in ("drawing", "scenery", "sets", "silhouettes", "world"))
_PACKAGES = ("numpy", "pillow", "webdataset")


def scenes_fingerprint(parameters: ScenesParameters) -> str:
    """Return a sha256 over everything that the images' bytes depend on; how many processes draw them is no part."""
    values = {name: value for name, value in parameters.model_dump().items() if name != "n_jobs"}
    code = sources_hash(*_CODE, "shards", "seeds.py")
    return json_hash({"parameters": values, "code": code, "versions": [version(name) for name in _PACKAGES]})


def is_drawn(name: str, previous: Mapping[str, Any], fingerprint: str, hashes: Mapping[str, str | None]) -> bool:
    """Tell whether the folder ``name``, with these ``hashes`` now, is the one that was recorded for ``fingerprint``."""
    recorded = previous.get("sha256", {}).get(name)
    return previous.get("fingerprint") == fingerprint and recorded is not None and recorded == hashes[name]
