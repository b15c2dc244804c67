"""The enhanced encoder as one folder that open_clip, transformers, LLaVA and PEFT open
unchanged.
"""

from __future__ import annotations

import copy
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from dcr.errors import UserError
from dcr.export.card import model_card
from dcr.files import atomic_folder
from dcr.finite import require_finite
from dcr.models.backbones import Backbone
from dcr.models.backbones.attention import fused_state_dict
from dcr.models.backbones.lora import has_adapter

_LOG = logging.getLogger(__name__)
_FORMATS = ("open_clip", "transformers")


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
    with atomic_folder(folder) as temporary:
        missing = {}
        for name in formats or _FORMATS:
            try:
                _WRITERS[name](temporary, backbone, dtype)
            except UserError as error:
                if formats is not None:
                    raise
                missing[name] = str(error)
                _LOG.warning("the encoder's folder has no %s files: %s", name, error)
        if len(missing) == len(_FORMATS):
            raise UserError(" ".join(missing.values()))
        if vision_only and "transformers" not in missing:
            write_vision_tower(temporary, temporary / "vision")
        if adapter is not None:
            _write_adapter(
                temporary / "adapter",
                backbone,
                adapter,
                card["base_model"],
                "transformers" in missing,
            )
            if alignment:
                _write_tensors(temporary / "adapter" / "alignment.safetensors", dict(alignment))
        told = card | {"resize_mode": backbone.preprocessing.resize_mode}
        (temporary / "README.md").write_text(model_card(told, missing), encoding="utf-8")


def write_open_clip(folder: str | Path, backbone: Backbone) -> None:
    """Write ``backbone`` in open_clip's layout: config, float32 safetensors, tokenizer if it is not
    open_clip's own.

    ``folder`` is written whole or not at all, and loads as ``local-dir:<folder>``.
    """
    _require_finite(backbone.model.state_dict(), torch.float32)
    with atomic_folder(folder) as temporary:
        _write_open_clip_files(temporary, backbone, torch.float32)


def _write_open_clip_files(folder: Path, backbone: Backbone, dtype: torch.dtype) -> None:
    from dcr.export.tokenizers import is_open_clip_vocabulary, write_tokenizer
    from dcr.models.backbones.families.open_clip import OpenClipBackbone

    preprocessing = backbone.preprocessing
    if isinstance(backbone, OpenClipBackbone):
        model_cfg = backbone.model_cfg
        state = fused_state_dict(backbone.model)
        if model_cfg["text_cfg"].get("hf_tokenizer_name"):
            write_tokenizer(folder, backbone)
    else:
        model_cfg, state = _open_clip_parts(backbone)
        if not is_open_clip_vocabulary(backbone.tokenizer):
            model_cfg["text_cfg"]["hf_tokenizer_name"] = (
                "."  # open_clip then reads the folder's own tokenizer
            )
            write_tokenizer(folder, backbone)
    preprocess_cfg = {
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "interpolation": preprocessing.interpolation,
        "resize_mode": preprocessing.resize_mode,
    }
    _write_json(
        folder / "open_clip_config.json", {"model_cfg": model_cfg, "preprocess_cfg": preprocess_cfg}
    )
    state = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    _write_tensors(folder / "open_clip_model.safetensors", state)


def _write_transformers_files(folder: Path, backbone: Backbone, dtype: torch.dtype) -> None:
    from dcr.export.tokenizers import write_tokenizer

    model = _transformers_model(backbone)
    if model.dtype != dtype:
        model = copy.deepcopy(model).to(dtype)
    config = _image_processor_config(backbone, model.config.model_type)
    write_tokenizer(folder, backbone)
    model.save_pretrained(folder, max_shard_size="100GB")
    _write_json(folder / "preprocessor_config.json", config)


def _transformers_model(backbone: Backbone) -> Any:
    from dcr.export.convert import to_clip_model
    from dcr.export.convert_siglip import is_siglip, to_siglip_model
    from dcr.export.tokenizers import eos_token_id
    from dcr.models.backbones.families.open_clip import OpenClipBackbone

    if not isinstance(backbone, OpenClipBackbone):
        return backbone.model
    if is_siglip(backbone.model):
        return to_siglip_model(backbone.model)
    return to_clip_model(backbone.model, eos_token_id(backbone))


def write_vision_tower(folder: Path, target: Path) -> None:
    """Write the image tower of a transformers CLIPModel or SiglipModel ``folder`` as a model of its
    own to ``target``.

    Weights keep the names that every version of transformers knows; LLaVA reads only these.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    family = {"clip": "CLIP", "siglip": "Siglip"}[config["model_type"]]
    vision = config["vision_config"] | {"architectures": [f"{family}VisionModel"]}
    vision |= {"model_type": f"{config['model_type']}_vision_model"}
    vision |= {key: config[key] for key in ("dtype", "torch_dtype") if key in config}
    target.mkdir()
    _write_json(target / "config.json", vision)
    state = load_file(folder / "model.safetensors")
    _write_tensors(
        target / "model.safetensors",
        {name: tensor for name, tensor in state.items() if name.startswith("vision_model.")},
    )
    shutil.copy(folder / "preprocessor_config.json", target)


_WRITERS = {"open_clip": _write_open_clip_files, "transformers": _write_transformers_files}


def _open_clip_parts(backbone: Backbone) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    from transformers import CLIPModel

    from dcr.export.convert import to_open_clip
    from dcr.export.convert_siglip import siglip_to_open_clip

    convert = to_open_clip if isinstance(backbone.model, CLIPModel) else siglip_to_open_clip
    return convert(backbone.model)


def _image_processor_config(backbone: Backbone, model_type: str) -> dict[str, Any]:
    """Return the configuration of the image processor that every version of transformers reads."""
    preprocessing = backbone.preprocessing
    square = {"height": preprocessing.image_size, "width": preprocessing.image_size}
    shapes = {
        "shortest": {
            "size": {"shortest_edge": preprocessing.image_size},
            "do_center_crop": True,
            "crop_size": square,
        },
        "squash": {"size": square, "do_center_crop": False},
    }
    if preprocessing.resize_mode not in shapes:
        raise UserError(
            f"The model cannot be written for transformers: its image processor has no resize mode "
            f"{preprocessing.resize_mode}."
        )
    return {
        "image_processor_type": "SiglipImageProcessor"
        if model_type == "siglip"
        else "CLIPImageProcessor",
        **shapes[preprocessing.resize_mode],
        "do_resize": True,
        "do_convert_rgb": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
        "resample": {"bilinear": 2, "bicubic": 3}[preprocessing.interpolation],
    }


def _write_adapter(
    folder: Path, backbone: Backbone, adapter: dict[str, Any], base_model: str, keep_names: bool
) -> None:
    """Write PEFT's two files, named for the transformers model beside them where there is one.

    Targets are listed by full name: PEFT shortens long lists to suffixes, which would also hit the
    text tower.
    """
    from dcr.export.convert import to_clip_module_name
    from dcr.export.convert_siglip import is_siglip, to_siglip_adapter
    from dcr.models.backbones.families.open_clip import OpenClipBackbone

    weights = {
        name.removeprefix("base_model.model."): tensor
        for name, tensor in adapter["weights"].items()
    }
    if isinstance(backbone, OpenClipBackbone) and not keep_names:
        is_timm = is_siglip(backbone.model)
        weights = (
            to_siglip_adapter(weights)
            if is_timm
            else {to_clip_module_name(n): t for n, t in weights.items()}
        )
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
    _write_json(folder / "adapter_config.json", config)
    _write_tensors(
        folder / "adapter_model.safetensors",
        {f"base_model.model.{name}": t for name, t in weights.items()},
    )


def _require_finite(tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    advice = "set export.dtype to float32 or bfloat16, or train it again"
    for name, tensor in tensors.items():  # one at a time in its new precision
        require_finite({name: tensor.to(dtype)}, f"the encoder's weights in {dtype}", advice)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    def plain(value: Any) -> Any:
        """Return ``value``, one of PEFT's enumerations or sets, as JSON can hold it."""
        return sorted(value) if isinstance(value, set) else getattr(value, "value", str(value))

    path.write_text(
        json.dumps(content, indent=2, sort_keys=True, default=plain) + "\n", encoding="utf-8"
    )


def _write_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    contiguous = {
        name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()
    }
    save_file(contiguous, path, metadata={"format": "pt"})
