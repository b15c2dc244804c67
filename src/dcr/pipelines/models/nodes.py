"""Nodes of pipeline `models`."""

from __future__ import annotations

from typing import Any

from dcr.parameters import ModelsParameters


def fetch_models(parameters: ModelsParameters, previous_models: dict[str, Any]) -> dict[str, Any]:
    """Download what is missing of the recipe's models, verify every file, tell sizes and licences.

    Args:
        parameters: section `models`: the sources, and the hashes that some files must have.
        previous_models: what the last run of this node recorded, {} before the first.
    """
    from dcr.models import hub as downloads

    sources = {"backbone": parameters.backbone}
    if parameters.diffusion is not None:
        sources["diffusion"] = parameters.diffusion
    sources |= parameters.more_encoders
    return downloads.fetch_models(sources, parameters.sha256, previous_models)
