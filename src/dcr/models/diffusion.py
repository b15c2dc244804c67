"""The frozen latent-diffusion model: VAE, UNet, noise schedule, text encoder.

Notation: B batch, T tokens of a prompt, m the UNet's cross-attention width, C latent channels, h x
w latent size. Latents are *scaled* (what the UNet sees) unless called moments. Noise is added in
float32 whatever the UNet's dtype: in bfloat16 the square root of ``1 - alpha_bar`` rounds to 0 at
the first timesteps.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import BatchEncoding, CLIPTextModel, CLIPTokenizer

from dcr.data.sources import diffusion_folder
from dcr.devices import resolve_device
from dcr.errors import UserError
from dcr.fingerprints import without_origin
from dcr.finite import require_finite
from dcr.models.diffusion_parts import PARTS
from dcr.models.diffusion_source import read_diffusion


@dataclass
class Diffusion:
    """A latent-diffusion model in diffusers' parts, every part frozen and in evaluation mode."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    scheduler: DDPMScheduler
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    source: str = ""  # folder or hub id it was loaded from, for processes that load it again

    def __post_init__(self) -> None:
        for part in (self.vae, self.unet, self.text_encoder):
            part.requires_grad_(False).eval()

    @property
    def device(self) -> torch.device:
        """The device of the UNet's weights."""
        return self._first_weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the UNet's weights; diffusers' own looks through all modules each time."""
        return self._first_weight.dtype

    @property
    def _first_weight(self) -> torch.nn.Parameter:
        weight: torch.nn.Parameter = next(self.unet.parameters())
        return weight

    @property
    def num_timesteps(self) -> int:
        """Length of the noise schedule, 1000 for Stable Diffusion."""
        return int(self.scheduler.config.num_train_timesteps)

    def to(self, device: str | torch.device) -> Diffusion:
        """Move every part to ``device``."""
        for part in (self.vae, self.unet, self.text_encoder):
            part.to(device)
        return self

    def tokenize(self, prompts: list[str]) -> BatchEncoding:
        """Return ``input_ids`` and ``attention_mask`` of N ``prompts``, each (N, T) int64.

        Longer ones are cut. T is the tokenizer's maximum length.
        """
        return self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        )

    @torch.no_grad()
    def encode_prompts(self, prompts: list[str], mask_padding: bool = False) -> torch.Tensor:
        """Return the text encoder's last hidden states of N ``prompts``, (N, T, m).

        T is the tokenizer's maximum length. By default no attention mask is passed, as diffusers
        does for Stable Diffusion; ``mask_padding`` passes the tokenizer's, as DCR's published code
        does.
        """
        tokens = self.tokenize(prompts)
        mask = tokens.attention_mask.to(self.device) if mask_padding else None
        ids = tokens.input_ids.to(self.device)
        hidden: torch.Tensor = self.text_encoder(ids, attention_mask=mask).last_hidden_state
        return hidden

    @torch.no_grad()
    def encode_moments(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log-variance of the unscaled latents, each (B, C, h, w).

        Args:
            pixels: (B, 3, H, W) in [0, 1]; the VAE sees them in [-1, 1].
        """
        distribution = self.vae.encode(pixels.to(self.vae.dtype) * 2 - 1).latent_dist
        return distribution.mean, distribution.logvar

    def scale_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Scale ``latents`` (B, C, h, w), drawn from the moments, as the UNet expects."""
        config = self.vae.config
        scaled: torch.Tensor = (latents - (config.shift_factor or 0.0)) * config.scaling_factor
        return scaled

    def unscale_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Undo `scale_latents`: return what the VAE decodes of scaled ``latents``, (B, C, h, w)."""
        config = self.vae.config
        unscaled: torch.Tensor = latents / config.scaling_factor + (config.shift_factor or 0.0)
        return unscaled

    @torch.no_grad()
    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Return pixels in [0, 1], (B, 3, H, W), of scaled ``latents``, (B, C, h, w)."""
        unscaled = self.unscale_latents(latents).to(self.vae.dtype)
        decoded: torch.Tensor = self.vae.decode(unscaled).sample
        return (decoded / 2 + 0.5).clamp(0, 1)

    def add_noise(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Return x_t = sqrt(alpha_bar) z + sqrt(1 - alpha_bar) noise, (B, C, h, w) float32.

        Args:
            latents: z, scaled, (B, C, h, w).
            noise: of unit variance, (B, C, h, w).
            timesteps: t, which alpha_bar is of, (B,) int64.
            dtype: float32, or what published code computed in.
        """
        noisy: torch.Tensor = self.scheduler.add_noise(
            latents.to(dtype), noise.to(dtype), timesteps
        )
        return noisy.float()

    def target(
        self,
        latents: torch.Tensor,
        noise: torch.Tensor,
        timesteps: torch.Tensor,
        prediction_type: str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> torch.Tensor:
        """Return what the UNet was trained to predict, (B, C, h, w) float32, computed in ``dtype``.

        Args:
            latents, noise, timesteps, dtype: see `add_noise`.
            prediction_type: ``epsilon``, ``v_prediction`` or ``sample``; by default the
                scheduler's.

        Raises:
            UserError: it is none of these.
        """
        kind = prediction_type or self.scheduler.config.prediction_type
        latents = latents.to(dtype)
        noise = noise.to(dtype)
        if kind == "epsilon":
            return noise.float()
        if kind == "v_prediction":
            velocity: torch.Tensor = self.scheduler.get_velocity(latents, noise, timesteps)
            return velocity.float()
        if kind == "sample":
            return latents.float()
        raise UserError(
            f"prediction_type must be epsilon, v_prediction or sample, got {kind!r} in the"
            " scheduler's config"
        )

    def predict(
        self,
        noisy_latents: torch.Tensor,
        timesteps: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
    ) -> torch.Tensor:
        """Return the UNet's prediction, (B, C, h, w), in the UNet's dtype.

        Args:
            noisy_latents: (B, C, h, w); cast to the UNet's dtype.
            timesteps: (B,) int64.
            encoder_hidden_states: the condition, (B, T, m); cast likewise.
        """
        prediction: torch.Tensor = self.unet(
            noisy_latents.to(self.dtype), timesteps, encoder_hidden_states.to(self.dtype)
        ).sample
        return prediction

    def settings(self) -> dict[str, Any]:
        """Return, as plain values, what decides about its outputs beside the weights."""
        configs = {
            name: without_origin(dict(getattr(self, name).config))
            for name in ("vae", "unet", "scheduler")
        }
        tokenizer = self.tokenizer
        return {
            **configs,
            "text_encoder": without_origin(self.text_encoder.config.to_dict()),
            "tokenizer": [
                tokenizer.get_vocab(),
                tokenizer.model_max_length,
                tokenizer.pad_token_id,
            ],
        }

    def save(self, folder: str | Path) -> None:
        """Write the parts into ``folder`` in diffusers' layout.

        Weights are safetensors, and must be finite.
        """
        for part in (self.vae, self.unet, self.text_encoder):
            require_finite(
                part.state_dict(), f"{type(part).__name__} for {folder}", "train it again"
            )
        for name in PARTS:
            getattr(self, name).save_pretrained(Path(folder) / name)


def load_diffusion(source: str, device: str | torch.device = "cpu") -> Diffusion:
    """Load a diffusion model in float32; nothing is downloaded.

    What is not here is an error that says so.

    Args:
        source: a diffusers folder with parts vae, unet, scheduler, text_encoder, tokenizer; the hub
            id of one, ``org/name[@revision]``; or a short name of
            `dcr.data.sources.STABLE_DIFFUSION`.
        device: where the parts go; ``auto`` is an accelerator if there is one.

    Raises:
        UserError: a part is missing, cannot be read, is not finite, or needs inputs that DCR does
            not give (`dcr.models.diffusion_source`).
    """
    read = read_diffusion(diffusion_folder(source), source)
    tokenizer = read.load_tokenizer()
    vae, unet = (read.load_part(part) for part in ("vae", "unet"))
    scheduler = read.build_scheduler()
    diffusion = Diffusion(vae, unet, scheduler, read.load_text_encoder(), tokenizer, source)
    return diffusion.to(resolve_device(device))
