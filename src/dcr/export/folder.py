"""The enhanced encoder as one folder that open_clip, transformers, LLaVA and PEFT open as it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dcr.errors import UserError
from dcr.export.card import model_card
from dcr.export.results import LEADERBOARDS, RESULTS, results_of
from dcr.export.transformers_files import write_transformers, write_vision_tower
from dcr.export.writing import write_json, write_tensors, write_yaml
from dcr.files import atomic_folder
from dcr.finite import require_finite
from dcr.models.backbones import Backbone
from dcr.models.backbones.forms import forms_of
from dcr.models.backbones.forms.base import Forms
from dcr.models.backbones.lora import has_adapter

_LOG = logging.getLogger(__name__)


def write_encoder(
    folder: str | Path,
    backbone: Backbone,
    adapter: dict[str, Any] | None,
    card: dict[str, Any],
    formats: tuple[str, ...] | None = None,
    dtype: torch.dtype = torch.float32,
    vision_only: bool = False,
    alignment: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write the folder whole or not at all; the same input gives the same bytes.

    Args:
        folder: replaced if it exists.
        backbone: with the adapter merged (`dcr.models.backbones.merge_lora`); split attention is
            fused on the way.
        adapter: ``{"config": PEFT LoraConfig, "weights": {name: tensor}}`` with PEFT's names inside
            the image tower, written as ``adapter/``; None writes none.
        card: see `dcr.export.card.model_card`.
        formats: ``open_clip``, ``transformers``, or None for all that the model's family can be
            written in; the card then names what is missing and why.
        dtype: of the weights in the files; the adapter's stay as they are.
        vision_only: also write ``vision/``, the image tower alone as transformers' CLIPVisionModel
            (or SiglipVisionModel), where the family has one.
        alignment: the maps that are folded into the backbone, written beside the adapter, which
            does not hold them.

    Raises:
        UserError: a format was asked for that cannot express the model; or a weight is not finite
            in ``dtype``.
    """
    if has_adapter(backbone.visual):
        raise ValueError(
            "backbone must have its adapter merged, got PEFT layers: call merge_lora first"
        )
    _require_finite(backbone.model.state_dict(), dtype)
    _require_finite(adapter["weights"] if adapter else {}, torch.float32)
    forms = forms_of(backbone)
    with atomic_folder(folder) as temporary:
        missing = _write_formats(temporary, forms, formats, dtype)
        if vision_only and "transformers" not in missing:
            write_vision_tower(temporary, temporary / "vision")
        if adapter is not None:
            named_for = None if "transformers" in missing else forms
            _write_adapter(temporary / "adapter", named_for, adapter, card["base_model"])
            if alignment:
                write_tensors(temporary / "adapter" / "alignment.safetensors", dict(alignment))
        told = card | {"resize_mode": backbone.preprocessing.resize_mode}
        (temporary / "README.md").write_text(model_card(told, missing), encoding="utf-8")
        write_json(temporary / RESULTS, results_of(card))
        if card.get("leaderboards"):
            write_yaml(temporary / LEADERBOARDS, card["leaderboards"])


def write_open_clip(folder: str | Path, backbone: Backbone) -> None:
    """Write ``backbone`` in open_clip's layout: config, float32 safetensors, tokenizer.

    open_clip's own tokenizer is left out. ``folder`` is written whole or not at all, and loads as
    ``local-dir:<folder>``.
    """
    _require_finite(backbone.model.state_dict(), torch.float32)
    with atomic_folder(folder) as temporary:
        _write_open_clip_files(temporary, forms_of(backbone), torch.float32)


def _write_open_clip_files(folder: Path, forms: Forms, dtype: torch.dtype) -> None:
    preprocessing = forms.backbone.preprocessing
    model_cfg, state = forms.open_clip()
    if model_cfg["text_cfg"].get("hf_tokenizer_name"):  # read from the model's folder
        forms.write_tokenizer(folder)
    preprocess_cfg = {
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "interpolation": preprocessing.interpolation,
        "resize_mode": preprocessing.resize_mode,
    }
    write_json(
        folder / "open_clip_config.json", {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    )
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    write_tensors(folder / "open_clip_model.safetensors", state)


_WRITERS = {"open_clip": _write_open_clip_files, "transformers": write_transformers}


def _write_formats(
    folder: Path, forms: Forms, formats: tuple[str, ...] | None, dtype: torch.dtype
) -> dict[str, str]:
    """Write the formats that were asked for, or all that can be; return why any is missing."""
    asked = formats or tuple(_WRITERS)
    missing = {name: "They were not asked for." for name in _WRITERS if name not in asked}
    for name in asked:
        try:
            _WRITERS[name](folder, forms, dtype)
        except UserError as error:
            if formats is not None:
                raise
            missing[name] = str(error)
            _LOG.warning("the encoder's folder has no %s files: %s", name, error)
    if len(missing) == len(_WRITERS):
        raise UserError(" ".join(missing.values()))
    return missing


def _write_adapter(
    folder: Path, forms: Forms | None, adapter: dict[str, Any], base_model: str
) -> None:
    """Write PEFT's two files, named for a model of transformers where its ``forms`` are given.

    Targets are listed by full name: PEFT shortens long lists to suffixes, which would also hit the
    text tower.
    """
    weights = {
        name.removeprefix("base_model.model."): tensor
        for name, tensor in adapter["weights"].items()
    }
    weights = weights if forms is None else forms.adapter(weights)
    config = (
        adapter["config"] if isinstance(adapter["config"], dict) else adapter["config"].to_dict()
    )
    targets = sorted({name.partition(".lora_A.")[0] for name in weights if ".lora_A." in name})
    config = {
        **config,
        "target_modules": targets,
        "base_model_name_or_path": base_model,
        "inference_mode": True,
    }
    folder.mkdir()
    write_json(folder / "adapter_config.json", config)
    write_tensors(
        folder / "adapter_model.safetensors",
        {f"base_model.model.{name}": t for name, t in weights.items()},
    )


def _require_finite(tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    advice = "set export.dtype to float32 or bfloat16, or train it again"
    for name, tensor in tensors.items():  # one at a time in its new precision
        require_finite({name: tensor.to(dtype)}, f"the encoder's weights in {dtype}", advice)
