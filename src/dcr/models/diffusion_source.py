"""Tell from its files whether a latent-diffusion model can be conditioned on tokens alone.

The condition is one sequence of tokens and nothing else. Configurations reach diffusers and
transformers through the lists below.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from diffusers.schedulers import KarrasDiffusionSchedulers
from transformers import CLIPTextConfig

from dcr.errors import UserError, first_line
from dcr.models.diffusion_parts import CLASSES, PARTS, WEIGHTS, DiffusionSource
from dcr.models.model_configs import pick, read_json

# The scheduler of EDM has no betas.
_SCHEDULERS = {scheduler.name for scheduler in KarrasDiffusionSchedulers} - {"EDMEulerScheduler"}
_PREDICTIONS = ("epsilon", "v_prediction", "sample")
_TEXT = (
    *(
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "projection_dim",
        "num_hidden_layers",
        "num_attention_heads",
    ),
    *(
        "max_position_embeddings",
        "hidden_act",
        "layer_norm_eps",
        "attention_dropout",
        "initializer_range",
    ),
    *("initializer_factor", "pad_token_id", "bos_token_id", "eos_token_id"),
)
_OTHER_PARTS = (
    "text_encoder_2",
    "text_encoder_3",
    "tokenizer_2",
    "transformer",
    "prior",
    "image_encoder",
)
_OTHER_INPUTS = {  # keys of the UNet's configuration, and what a value asks for
    "class_embed_type": "class labels",
    "num_class_embeds": "class labels",
    "projection_class_embeddings_input_dim": "class embeddings",
    "addition_embed_type": "added conditions, as SDXL has",
    "encoder_hid_dim": "projected conditions",
    "encoder_hid_dim_type": "projected conditions",
    "time_cond_proj_dim": "a guidance embedding, as distilled models have",
}


def read_diffusion(folder: Path, source: str) -> DiffusionSource:
    """Return a folder's configurations, whose model needs only noisy latents, timesteps and tokens.

    Args:
        folder: with parts vae, unet, scheduler, text_encoder and tokenizer, as diffusers writes
            them.
        source: how the recipe names it, for messages.

    Raises:
        UserError: a part is missing, or the model needs other inputs, widths or a noise schedule of
            another kind.
    """
    for name, config in PARTS.items():
        if not (folder / name / config).is_file():
            raise UserError(
                f"diffusion model {source}: {name}/{config} is missing; "
                "a diffusers folder holds vae, unet, scheduler, text_encoder and tokenizer"
            )
    stated = {name: read_json(folder / name / PARTS[name]) for name in PARTS}
    read = DiffusionSource(
        folder,
        _arguments("vae", stated["vae"], folder),
        _arguments("unet", stated["unet"], folder),
        _arguments("scheduler", stated["scheduler"], folder),
        _text_config(stated["text_encoder"], folder / "text_encoder" / "config.json"),
        source,
    )
    reason = next(_reasons(read, stated), None)
    if reason:
        raise UserError(
            f"diffusion model {source} cannot be used: {reason}; give one that is conditioned on"
            " the tokens of one CLIP text encoder alone, as Stable Diffusion 1.4 to 2.1 are"
        )
    return read


def check_diffusion(folder: Path, source: str) -> None:
    """Compare configurations and weights of a folder without loading them.

    Args:
        folder: with parts as diffusers writes them.
        source: how the recipe names it, for messages.

    Raises:
        UserError: they make no model, or none that can be used.
    """
    read = read_diffusion(folder, source)
    read.build_scheduler()
    for part in WEIGHTS:
        read.fitted(part, only_shapes=True)


def _arguments(part: str, config: dict[str, Any], folder: Path) -> dict[str, Any]:
    allowed = [
        name for name in inspect.signature(CLASSES[part].__init__).parameters if name != "self"
    ]
    return pick(config, allowed, folder / part)


def _text_config(config: dict[str, Any], path: Path) -> CLIPTextConfig:
    try:
        return CLIPTextConfig(**pick(config, _TEXT, path))
    except Exception as error:  # whatever foreign values may raise
        raise UserError(
            f"{path} cannot be read by transformers ({first_line(error)}): get the whole model"
            " again"
        ) from error


def _reasons(read: DiffusionSource, stated: dict[str, dict[str, Any]]) -> Any:
    """Yield why the model asks for something that DCR does not give it."""
    expected = {
        "vae": {"AutoencoderKL"},
        "unet": {"UNet2DConditionModel"},
        "scheduler": _SCHEDULERS,
    }
    for part, names in expected.items():
        found = stated[part].get("_class_name")
        if found is not None and str(found) not in names:
            yield f"its {part} is a {str(found)!r}"
    architectures = stated["text_encoder"].get("architectures") or ["CLIPTextModel"]
    if architectures != ["CLIPTextModel"]:
        named = (
            architectures[0]
            if isinstance(architectures, list) and len(architectures) == 1
            else architectures
        )
        yield f"its text_encoder is a {named!r}"
    yield from (f"it has a part {part}" for part in _OTHER_PARTS if (read.folder / part).is_dir())
    for key, need in _OTHER_INPUTS.items():
        if read.unet.get(key) is not None:
            yield f"its unet needs {need} ({key} is {read.unet[key]!r})"
    yield from _unequal_widths(read)
    yield from _other_schedule(read, stated["scheduler"])


def _unequal_widths(read: DiffusionSource) -> Any:
    latents = read.vae.get("latent_channels", 4)
    width = read.unet.get("cross_attention_dim", 1280)
    text_width = read.text_encoder.hidden_size
    for key, what in (("in_channels", "takes"), ("out_channels", "predicts")):
        channels = read.unet.get(key, 4)
        if channels != latents:
            yield f"its unet {what} {channels!r} channels, and its vae makes {latents!r} ({key})"
    for key in ("in_channels", "out_channels"):
        if read.vae.get(key, 3) != 3:
            yield f"its vae is not one of RGB images ({key} is {read.vae[key]!r})"
    if not isinstance(width, int) or width != text_width:
        yield (
            f"its unet's cross_attention_dim is {width!r}, and its text encoder is {text_width}"
            " wide"
        )
    if read.vae.get("latents_mean") is not None or read.vae.get("latents_std") is not None:
        yield "its vae scales latents by latents_mean and latents_std"


def _other_schedule(read: DiffusionSource, stated: dict[str, Any]) -> Any:
    prediction = read.scheduler.get("prediction_type", "epsilon")
    timesteps = read.scheduler.get("num_train_timesteps", 1000)
    if prediction not in _PREDICTIONS:
        yield (
            f"prediction_type must be {', '.join(_PREDICTIONS)}, got {prediction!r} in its"
            " scheduler's configuration"
        )
    if stated.get("use_flow_sigmas"):
        yield "its scheduler has the sigmas of flow matching"
    if not isinstance(timesteps, int) or not 1 <= timesteps <= 100_000:
        yield f"its scheduler has num_train_timesteps {timesteps!r}"
