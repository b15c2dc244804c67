"""The files of a model that transformers reads, and its image tower as a model of its own."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from dcr.data.transforms import Preprocessing
from dcr.errors import UserError
from dcr.export.writing import write_json, write_tensors
from dcr.models.backbones.forms.base import Forms


def write_transformers(folder: Path, forms: Forms, dtype: torch.dtype) -> None:
    """Write model, tokenizer and image processor.

    Args:
        folder: exists; files of these names in it are overwritten.
        forms: of the backbone.
        dtype: of the weights in the file.

    Raises:
        UserError: transformers cannot express the model, its tokenizer or its preprocessing.
    """
    model = forms.transformers()
    if model.dtype != dtype:
        model = copy.deepcopy(model).to(dtype)
    config = _image_processor(forms.backbone.preprocessing, forms.image_processor)
    forms.write_tokenizer(folder)
    model.save_pretrained(folder, max_shard_size="100GB")
    write_json(folder / "preprocessor_config.json", config)


def write_vision_tower(folder: Path, target: Path) -> None:
    """Write the image tower of a model of transformers, such as a CLIPModel, as a model of its own.

    Weights keep the names that every version of transformers knows; LLaVA reads only these.

    Args:
        folder: that `write_transformers` wrote.
        target: a folder, which is made.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (whole,) = config["architectures"]
    vision = config["vision_config"]
    vision |= {"architectures": [f"{whole.removesuffix('Model')}VisionModel"]}
    vision |= {"model_type": f"{config['model_type']}_vision_model"}
    vision |= {key: config[key] for key in ("dtype", "torch_dtype") if key in config}
    target.mkdir()
    write_json(target / "config.json", vision)
    state = load_file(folder / "model.safetensors")
    write_tensors(
        target / "model.safetensors",
        {name: tensor for name, tensor in state.items() if name.startswith("vision_model.")},
    )
    shutil.copy(folder / "preprocessor_config.json", target)


def _image_processor(preprocessing: Preprocessing, kind: str) -> dict[str, Any]:
    """Return the configuration of the image processor that every version of transformers reads."""
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
        "image_processor_type": kind,
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
