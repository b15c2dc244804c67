"""The image processor of a transformers folder as preprocessing.

It must say exactly what the tower takes.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from transformers import CLIPImageProcessor, SiglipImageProcessor

from dcr.data.transforms import Preprocessing, checked_preprocessing
from dcr.errors import UserError, first_line
from dcr.models.model_configs import pick, read_json

_PROCESSORS = {"clip": CLIPImageProcessor, "siglip": SiglipImageProcessor}
_RESAMPLE = {2: "bilinear", 3: "bicubic"}
_PROCESSOR = "preprocessor_config.json"
_PROCESSOR_KEYS = (
    *(
        "size",
        "crop_size",
        "do_resize",
        "do_center_crop",
        "do_rescale",
        "do_normalize",
        "resample",
        "rescale_factor",
    ),
    *("image_mean", "image_std"),
)


def read_preprocessing(folder: Path, image_size: int, processor: str) -> Preprocessing:
    """Return how an image becomes the input of a folder's image tower.

    Args:
        folder: holds ``preprocessor_config.json``.
        image_size: side in pixels of what the tower takes.
        processor: whose image processor it is where the file does not say: ``clip`` or ``siglip``.

    Raises:
        UserError: the file is missing, or says something that the tower or DCR cannot take.
    """
    path = folder / _PROCESSOR
    if not path.is_file():
        raise UserError(
            f"Backbone folder {folder} has no {_PROCESSOR}, so mean and std are unknown: add the"
            " model's"
        )
    stated = read_json(path)
    name = str(
        stated.get("image_processor_type") or stated.get("feature_extractor_type") or processor
    ).lower()
    kind = next((kind for kind in _PROCESSORS if name.startswith(kind)), None)
    if kind is None:
        raise UserError(
            f"{path} is of an image processor {name!r}, supported are those of CLIP and SigLIP"
        )
    try:
        settings = _PROCESSORS[kind](**pick(stated, _PROCESSOR_KEYS, path)).to_dict()
        resample = int(settings["resample"])
    except Exception as error:  # whatever foreign values may raise
        raise UserError(
            f"{path} cannot be read by transformers ({first_line(error)}): add the model's"
        ) from error
    _check_steps(settings, path)
    interpolation = _RESAMPLE.get(resample)
    if interpolation is None:
        raise UserError(
            f"{path} has resample {resample}, supported are 2 (bilinear) and 3 (bicubic)."
        )
    resize_mode = _resize_mode(settings, image_size, path)
    mean = settings["image_mean"]
    std = settings["image_std"]
    return checked_preprocessing(image_size, mean, std, interpolation, resize_mode, path)


def _check_steps(processor: dict[str, Any], path: Path) -> None:
    """Refuse a processor that leaves out a step or scales pixels to other than [0, 1]."""
    left_out = [
        step
        for step in ("do_resize", "do_rescale", "do_normalize")
        if not processor.get(step, True)
    ]
    factor = processor.get("rescale_factor", 1 / 255)
    if left_out or not isinstance(factor, float) or not math.isclose(factor, 1 / 255, rel_tol=1e-6):
        told = (
            f"sets {', '.join(left_out)} to false"
            if left_out
            else f"has the rescale_factor {factor}"
        )
        raise UserError(
            f"{path} {told}; only images resized, scaled to [0, 1] and normalised are supported"
        )


def _resize_mode(processor: dict[str, Any], image_size: int, path: Path) -> str:
    size, crop = (processor.get(key) or {} for key in ("size", "crop_size"))
    square = {"height": image_size, "width": image_size}
    if (
        size.get("shortest_edge") == image_size
        and processor.get("do_center_crop")
        and _is(crop, square)
    ):
        return "shortest"
    if _is(size, square) and (not processor.get("do_center_crop") or _is(crop, square)):
        return "squash"
    raise UserError(
        f"{path} resizes to {size} and crops to {crop}, but the image tower takes {image_size} px:"
        " make both agree with the tower."
    )


def _is(size: dict[str, Any], expected: dict[str, int]) -> bool:
    return all(size.get(side) == pixels for side, pixels in expected.items())
