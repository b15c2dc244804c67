"""How good the demo's base models are, measured on images they were not trained on."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL

from dcr.backbones import Backbone
from dcr.diffusion import Diffusion
from dcr.errors import UserError
from dcr.progress import show_progress
from dcr.scenes.pretrain_data import ImageSet, batched
from dcr.scenes.pretrain_unet import encode_captions, full_captions
from dcr.scenes.world import SCENE_CLASSES, TEMPLATES
from dcr.seeds import torch_generator

_BATCH_SIZE = 128


@torch.no_grad()
def zero_shot_accuracy(backbone: Backbone, images: ImageSet) -> float:
    """Return the share of images whose class is the nearest of the class prompts, averaged over the templates."""
    prompts = [template.format(c=name) for name in SCENE_CLASSES for template in TEMPLATES]
    texts = torch.nn.functional.normalize(backbone.encode_text(prompts), dim=-1)
    classes = texts.view(len(SCENE_CLASSES), len(TEMPLATES), -1).mean(dim=1)
    labels = torch.tensor([attributes["class"] for attributes in images.attributes])
    batches = batched(len(images), _BATCH_SIZE)
    chosen = torch.cat([(backbone.encode_image(images.pixels(i)) @ classes.T).argmax(dim=1) for i in batches])
    return (chosen == labels).float().mean().item()


@torch.no_grad()
def reconstruction_psnr(vae: AutoencoderKL, images: ImageSet) -> float:
    """Return the mean over images of the peak signal-to-noise ratio in dB, decoding the posterior's mean."""
    ratios = []
    for indices in batched(len(images), _BATCH_SIZE):
        pixels = images.pixels(indices)
        decoded = vae.decode(vae.encode(pixels * 2 - 1).latent_dist.mean).sample / 2 + 0.5
        ratios.append(-10 * (decoded.clamp(0, 1) - pixels).square().mean(dim=(1, 2, 3)).log10())
    return torch.cat(ratios).mean().item()


@torch.no_grad()
def noise_errors(diffusion: Diffusion, images: ImageSet, draws: int, seed: int) -> dict[str, float]:
    """Return the mean squared error of the UNet's prediction under three conditions, all else being equal.

    Every image is noised ``draws`` times, at timesteps spread evenly over the schedule; a wrong caption is the one
    of another image. Returns ``{"true_caption": ..., "empty_prompt": ..., "wrong_caption": ...}``.
    """
    captions = encode_captions(diffusion, full_captions(images))
    conditions = {
        "true_caption": captions,
        "empty_prompt": diffusion.encode_prompts([""]).expand_as(captions),
        "wrong_caption": captions.roll(1, dims=0),
    }
    generator = torch_generator(seed, "noise errors")
    batches = batched(len(images), _BATCH_SIZE)
    latents = diffusion.scale_latents(torch.cat([diffusion.encode_moments(images.pixels(i))[0] for i in batches]))
    totals = dict.fromkeys(conditions, 0.0)
    for draw in show_progress(range(draws), desc="measuring noise errors", unit="draw"):
        noise = torch.randn(latents.shape, generator=generator)
        shares = (torch.arange(len(latents)) / len(latents) + draw / draws) % 1
        timesteps = (shares * diffusion.num_timesteps).long()
        noisy_latents = diffusion.add_noise(latents, noise, timesteps)
        target = diffusion.target(latents, noise, timesteps)
        for name, condition in conditions.items():
            for i in batches:
                noise_pred = diffusion.predict(noisy_latents[i], timesteps[i], condition[i])
                totals[name] += (noise_pred - target[i]).square().mean(dim=(1, 2, 3)).sum().item()
    return {name: total / draws / len(latents) for name, total in totals.items()}


def check_condition(errors: dict[str, float]) -> None:
    """Require that the UNet listens: noise error with the true caption < the empty prompt < a wrong caption.

    Raises:
        UserError: the order is violated.
    """
    true, empty, wrong = (errors[name] for name in ("true_caption", "empty_prompt", "wrong_caption"))
    if not true < empty < wrong:
        raise UserError(
            f"the base UNet does not use its condition: noise error must rise from the true caption ({true:.4f}) over "
            f"the empty prompt ({empty:.4f}) to a wrong caption ({wrong:.4f}); raise unet_steps in "
            f"parameters_pretraining.yml"
        )
