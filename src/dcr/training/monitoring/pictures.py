"""What the model tells the UNet of held-out images, drawn from the same noise every time."""

from __future__ import annotations

import torch
from PIL import Image
from torchvision.utils import make_grid

from dcr.models.diffusion import Diffusion
from dcr.models.generation import reconstruct
from dcr.models.projector import condition
from dcr.seeds import torch_generator
from dcr.training.model import ConditionModel
from dcr.training.precision import autocast


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
