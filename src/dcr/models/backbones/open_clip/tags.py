"""What open_clip's own table knows of a model's weights: file, preprocessing, activation."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub import try_to_load_from_cache

from dcr.data.sources import FETCH
from dcr.errors import UserError
from dcr.models.backbones.torchscript import activation_of, is_torchscript

_LOG = logging.getLogger(__name__)
_QUICK = "-quickgelu"


def tag_file(source: str, name: str, pretrained: str) -> Path:
    """Return the local file of a pretrained tag.

    Args:
        source: as the recipe names it, for messages.
        name: of the model in open_clip.
        pretrained: the tag.

    Raises:
        UserError: open_clip has no such tag, or its file was never downloaded.
    """
    tag = open_clip.get_pretrained_cfg(name, pretrained)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise UserError(
            f"Backbone {source}: {name} has no pretrained tag or file {pretrained}; its tags are"
            f" {tags}."
        )
    path = cached_tag_file(tag)
    if path is None:
        raise UserError(f"Backbone {source} is not on this machine: get it with `{FETCH}`.")
    return path


def cached_tag_file(tag: dict[str, Any]) -> Path | None:
    """Return the local file of ``tag``, of open_clip's table, None if it was never downloaded."""
    repo_id, filename = os.path.split(tag.get("hf_hub", ""))
    for candidate in (
        [filename] if filename else ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    ):
        found = try_to_load_from_cache(repo_id, candidate) if repo_id else None
        if isinstance(found, str):
            return Path(found)
    # open_clip puts downloads there.
    downloaded = Path.home() / ".cache" / "clip" / os.path.basename(tag.get("url", ""))
    return downloaded if downloaded.is_file() else None


def published_as(name: str, path: Path) -> dict[str, Any]:
    """Return open_clip's table entry whose file is called as ``path`` is, empty if there is none.

    Args:
        name: of the model in open_clip, with or without quick_gelu; both are looked through.
        path: the file of weights.
    """
    plain = name.removesuffix(_QUICK)
    for model in (plain, plain + _QUICK):
        for tag in open_clip.list_pretrained_tags_by_model(model):
            entry: dict[str, Any] = open_clip.get_pretrained_cfg(model, tag)
            if entry.get("url") and os.path.basename(entry["url"]) == path.name:
                return entry
    return {}


def shared_by_tags(name: str) -> dict[str, Any]:
    """Return what all published weights of the model ``name`` agree on.

    It serves a file that says nothing about itself.
    """
    tags = open_clip.list_pretrained_tags_by_model(name)
    first, *others = [open_clip.get_pretrained_cfg(name, tag) for tag in tags] or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key) == value for other in others)
    }


def set_activation(
    source: str, name: str, model_cfg: dict[str, Any], path: Path, tag: dict[str, Any]
) -> None:
    """Put the activation that the weights were trained with into ``model_cfg``, warn if unknown.

    An archive's program shows it, and open_clip's table knows it of what it lists; a file of
    tensors says nothing. timm's towers have the activation of their name.

    Args:
        source: as the recipe names it, for messages.
        name: of the model in open_clip.
        model_cfg: changed in place.
        path: the file of weights.
        tag: its entry in open_clip's table, empty if there is none.
    """
    if "timm_model_name" in model_cfg["vision_cfg"]:
        return
    named = bool(model_cfg.get("quick_gelu"))
    told = activation_of(path) if is_torchscript(path) else None
    if told is None and tag:
        told = bool(tag.get("quick_gelu"))
    if told is None and not name.endswith(_QUICK):
        quick = name + _QUICK
        hint = (
            f"; weights of OpenAI, MetaCLIP and DFN need {quick}"
            if quick in open_clip.list_models()
            else ""
        )
        _LOG.warning(
            "Backbone %s: the file does not say which activation its weights were trained with; %s"
            " is taken%s",
            *(source, _activation(named), hint),
        )
    elif told not in (None, named):
        model_cfg["quick_gelu"] = told
        _LOG.info(
            "Backbone %s: its weights were trained with %s, which is taken",
            source,
            _activation(told),
        )


def _activation(quick: bool) -> str:
    return "quick_gelu" if quick else "gelu"
