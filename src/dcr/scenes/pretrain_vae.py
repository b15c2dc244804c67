"""The demo's small VAE: diffusers' AutoencoderKL, trained on the rendered images.

Two things of Stable Diffusion's VAE are left out for want of time: the perceptual and the
adversarial term. On drawn scenes, which have few textures, a mean absolute error gives edges that
are sharp enough.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from dcr.parameters import PretrainingParameters
from dcr.scenes.pretrain_data import ImageSet, batched, optimise, seeded
from dcr.seeds import torch_generator


def build_vae(parameters: PretrainingParameters) -> AutoencoderKL:
    """Return an untrained VAE of the channels that ``parameters`` tell.

    Each block but the last halves the image.
    """
    channels = parameters.vae_block_channels
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=tuple(channels),
        layers_per_block=1,
        latent_channels=parameters.latent_channels,
        norm_num_groups=4,
        sample_size=parameters.image_size,
    )
    _initialise(vae)
    return vae.to(memory_format=torch.channels_last)


@torch.no_grad()
def _initialise(vae: AutoencoderKL) -> None:
    """Let training start from a nearly linear autoencoder, which a short one ends better from.

    Convolutions keep the variance, residual branches are silent, and the posterior is narrow. With
    PyTorch's own first weights the first hundreds of steps go into finding a way for the signal.
    """
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    for module in vae.modules():
        if isinstance(module, ResnetBlock2D):
            nn.init.zeros_(module.conv2.weight)
    logvar = slice(vae.config.latent_channels, None)
    vae.quant_conv.weight[logvar] *= 0.1
    vae.quant_conv.bias[logvar] = -6


def train_vae(images: ImageSet, parameters: PretrainingParameters) -> AutoencoderKL:
    """Train on mean absolute error plus ``vae_kl_weight`` times the KL divergence; set the scale.

    The divergence is per pixel value. ``scaling_factor`` is one over the standard deviation of the
    latents of the images, as in Rombach et al., arXiv 2112.10752, so that the UNet sees latents of
    variance one.

    Args:
        images: (N, 3, S, S); their captions take no part.
        parameters: sizes, steps, batch size, learning rate, ``vae_kl_weight`` and seed.
    """
    vae = seeded(lambda: build_vae(parameters), parameters.seed, "vae")
    generator = torch_generator(parameters.seed, "vae", "posterior")

    def batch_loss(indices: torch.Tensor) -> torch.Tensor:
        """Return the loss at ``indices``, (batch size,) int64, with new draws of the posterior."""
        pixels = images.pixels(indices).to(memory_format=torch.channels_last) * 2 - 1
        posterior = vae.encode(pixels).latent_dist
        decoded = vae.decode(posterior.sample(generator)).sample
        error: torch.Tensor = (decoded - pixels).abs().mean()
        divergence: torch.Tensor = posterior.kl().sum()
        return error + parameters.vae_kl_weight * divergence / pixels.numel()

    optimise(
        vae,
        batch_loss,
        len(images),
        parameters.vae_steps,
        parameters.vae_batch_size,
        parameters.vae_learning_rate,
        parameters.seed,
        "vae",
    )
    # As the diffusion model will have it: the bits of its latents depend on it.
    vae.requires_grad_(False)
    mean, logvar = encode_all(vae, images, parameters.vae_batch_size)
    variance = mean.var() + logvar.exp().mean()
    vae.register_to_config(scaling_factor=round(float(variance.rsqrt()), 4))
    return vae


@torch.no_grad()
def encode_all(
    vae: AutoencoderKL, images: ImageSet, batch_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and log-variance of the unscaled latents of all images, each (N, C, h, w).

    Args:
        vae: takes pixels in [-1, 1].
        images: (N, 3, S, S).
        batch_size: how many are encoded at a time.
    """
    moments = [
        vae.encode(images.pixels(i) * 2 - 1).latent_dist for i in batched(len(images), batch_size)
    ]
    return torch.cat([m.mean for m in moments]), torch.cat([m.logvar for m in moments])
