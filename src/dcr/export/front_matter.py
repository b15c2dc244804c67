"""What the hub reads of an encoder's card: licence, base model, paper and evaluation results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dcr.data.sources import HUB, parse_hub_model
from dcr.export.results import eval_results
from dcr.pages.markdown import one_line

PAPER = "2603.04803"
"""DCR's, on arXiv."""

# Of the hub's list, those that image-text models are under; it refuses words that are not on it.
_LICENCES = {
    *("apache-2.0", "mit", "bsd-3-clause", "openrail", "creativeml-openrail-m"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
    *("apple-amlr", "apple-ascl", "other", "unknown"),
}


def front_matter(card: Mapping[str, Any], missing: Mapping[str, str], title: str) -> str:
    """Return the YAML head of a card, fences included.

    Args:
        card, missing: as `dcr.export.card.model_card` takes them.
        title: what the model is called there.
    """
    from huggingface_hub import ModelCardData

    results = eval_results(card)
    data = ModelCardData(
        **_licence(one_line(card["licence"])),
        **_origin(card),
        library_name="transformers" if "open_clip" in missing else "open_clip",
        pipeline_tag="zero-shot-image-classification",
        tags=["clip", "diffusion-contrastive-reconstruction", f"arxiv:{PAPER}"],
        model_name=one_line(title) if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _licence(name: str) -> dict[str, str]:
    """Return what the hub calls the licence ``name``; one that it does not know is ``other``."""
    known = name.lower()
    return {"license": known} if known in _LICENCES else {"license": "other", "license_name": name}


def _origin(card: Mapping[str, Any]) -> dict[str, str]:
    """Return the base model's repository, {} where it is none of a known commit."""
    on_hub = parse_hub_model(str(card["base_model"]).removeprefix(HUB))
    if not on_hub or not card.get("base_revision"):
        return {}
    return {"base_model": on_hub.repo_id, "base_model_relation": "finetune"}
