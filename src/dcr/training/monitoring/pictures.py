"""What the model tells the UNet of held-out images, drawn from the same noise every time.

A picture says which step of which run it was drawn at: a run's folder may hold those of another
that trained there under other parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torchvision.utils import make_grid

from dcr.files import atomic_path
from dcr.fingerprints import json_hash
from dcr.models.diffusion import Diffusion
from dcr.models.generation import reconstruct
from dcr.models.projector import condition
from dcr.seeds import torch_generator
from dcr.training.model import ConditionModel
from dcr.training.precision import autocast

_ROW = "dcr-row"
"""The text in a picture's file that holds the hash of its step's row."""


def keep_picture(picture: Image.Image, folder: Path, row: dict[str, float]) -> Path:
    """Write the picture of a step, and return its path.

    Args:
        picture: what `draw_reconstructions` returned.
        folder: of the run's pictures.
        row: the step's numbers, with its ``step``.
    """
    path = _path(folder, row)
    note = PngInfo()
    note.add_text(_ROW, json_hash(row))
    with atomic_path(path) as temporary:
        picture.save(temporary, "PNG", pnginfo=note)
    return path


def kept_pictures(folder: Path, rows: Sequence[dict[str, float]]) -> dict[int, Path]:
    """Return the pictures of a run, by step.

    Args:
        folder: of the run's pictures.
        rows: of the steps that are done, as `keep_picture` had them.
    """
    return dict(_drawn_at(folder, rows))


def _drawn_at(folder: Path, rows: Sequence[dict[str, float]]) -> Iterator[tuple[int, Path]]:
    for row in rows:
        path = _path(folder, row)
        # One that is not there or cannot be read is shown to nobody.
        with suppress(OSError, ValueError), Image.open(path) as picture:
            if picture.info.get(_ROW) == json_hash(row):
                yield int(row["step"]), path


def _path(folder: Path, row: dict[str, float]) -> Path:
    return folder / f"step-{int(row['step']):06d}.png"


@torch.no_grad()
def draw_reconstructions(
    model: ConditionModel,
    diffusion: Diffusion,
    pixels: torch.Tensor,
    latent_shape: torch.Size,
    seed: int,
    num_steps: int,
    mask_padding: bool = False,
) -> Image.Image:
    """Return the images in a row and their reconstructions under their own conditions below.

    Args:
        model: tower and projector; its mode, training or evaluation, is left as it was.
        diffusion: draws what the conditions say.
        pixels: (N, 3, H, W) in [0, 1].
        latent_shape: (C, h, w) of one image's latents.
        seed: of the noise.
        num_steps: DDIM steps, see `dcr.models.generation.reconstruct`.
        mask_padding: of the empty prompt, see `dcr.training.unet.predictor.Predictor`.
    """
    was_training = model.training
    model.eval()
    noise = torch.randn(
        len(pixels), *latent_shape, generator=torch_generator(seed, "reconstructions")
    )
    empty_prompt = diffusion.encode_prompts([""], mask_padding)
    with autocast(diffusion.device, diffusion.dtype):
        projections = model(pixels)[1].float()
    drawn = reconstruct(diffusion, condition(empty_prompt, projections), noise, num_steps)
    model.train(was_training)
    grid = make_grid(torch.cat([pixels, drawn]).cpu(), nrow=len(pixels))
    return Image.fromarray((grid.permute(1, 2, 0) * 255).round().byte().numpy())
