"""The parts of a diffusers folder: each built from its checked configuration, with its weights.

Weights must fit it: they are compared by name and shape with what the configuration builds,
before any is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dcr.errors import UserError, first_line
from dcr.finite import require_finite
from dcr.models.model_configs import check_numbers, load_tokenizer
from dcr.models.weights import find_weights, fit, read_weights

PARTS = {
    "vae": "config.json",
    "unet": "config.json",
    "scheduler": "scheduler_config.json",
    "text_encoder": "config.json",
    "tokenizer": "tokenizer_config.json",
}
WEIGHTS = {
    "vae": "diffusion_pytorch_model",
    "unet": "diffusion_pytorch_model",
    "text_encoder": "model",
}
CLASSES = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "scheduler": DDPMScheduler}
# transformers gives a tokenizer that states no length a number far beyond this one.
_UNSTATED = 1_000_000


@dataclass
class DiffusionSource:
    """The checked configurations of a diffusers folder, as the libraries' classes take them."""

    folder: Path
    vae: dict[str, Any]
    unet: dict[str, Any]
    scheduler: dict[str, Any]
    text_encoder: CLIPTextConfig
    source: str

    def build(self, part: str) -> Any:
        """Return a part with weights on the current device, and with none on ``meta``.

        Args:
            part: ``vae``, ``unet`` or ``text_encoder``.

        Raises:
            UserError: the library refuses its configuration.
        """
        try:
            if part == "text_encoder":
                return CLIPTextModel(self.text_encoder)
            return CLASSES[part](**getattr(self, part))
        except Exception as error:  # whatever foreign values may raise
            raise UserError(
                f"diffusion model {self.source}: {self.folder / part / PARTS[part]} cannot be built"
                f" ({first_line(error)}); get the whole model again, or give another diffusers"
                " folder"
            ) from error

    def build_scheduler(self) -> DDPMScheduler:
        """Return the noise schedule.

        Raises:
            UserError: a step takes away less than nothing or more than all.
        """
        path = self.folder / "scheduler" / PARTS["scheduler"]
        try:
            scheduler = DDPMScheduler.from_config(self.scheduler)
            is_schedule = bool(((scheduler.betas >= 0) & (scheduler.betas <= 1)).all())
        except Exception as error:  # whatever foreign values may raise
            raise UserError(
                f"diffusion model {self.source}: {path} cannot be built ({first_line(error)}):"
                " replace it"
            ) from error
        if not is_schedule:
            raise UserError(
                f"diffusion model {self.source}: {path} is no noise schedule: get the whole model"
                " again"
            )
        return scheduler

    def fitted(
        self, part: str, only_shapes: bool
    ) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
        """Return the part without values, and its weights under the part's names.

        Args:
            part: ``vae``, ``unet`` or ``text_encoder``.
            only_shapes: read no values: the weights then are tensors on ``meta``.

        Raises:
            UserError: the weights are missing or do not fit.
        """
        config = self.text_encoder.to_dict() if part == "text_encoder" else getattr(self, part)
        path = find_weights(self.folder / part, [f"{WEIGHTS[part]}.safetensors"])
        state = read_weights(path, only_shapes)
        numbers = {key: value for key, value in config.items() if not key.endswith("_token_id")}
        check_numbers(numbers, state, self.folder / part / "config.json")
        with torch.device("meta"):
            model = self.build(part)
        # The attention of VAEs had other names before diffusers 0.15.
        renames = getattr(model, "_fix_state_dict_keys_on_load", None)
        return model, fit(
            state, model, path, lambda state: renames(state) or state if renames else state
        )

    def load_part(self, part: str) -> Any:
        """Return ``vae`` or ``unet``, the ``part``, with its weights in float32.

        Raises:
            UserError: they do not fit or are not finite.
        """
        model, state = self.fitted(part, only_shapes=False)
        state = {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in state.items()
        }
        self._require_finite(state, part)
        model.load_state_dict(state, assign=True)
        return model

    def load_text_encoder(self) -> CLIPTextModel:
        """Return the text encoder in float32.

        Raises:
            UserError: its weights do not fit or are not finite.
        """
        _, state = self.fitted("text_encoder", only_shapes=False)
        self._require_finite(state, "text_encoder")
        return CLIPTextModel.from_pretrained(  # which makes the buffers that are in no file
            None,
            config=self.text_encoder,
            state_dict=state,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
        )

    def load_tokenizer(self) -> CLIPTokenizer:
        """Return the tokenizer, its length that of the text encoder where none is stated.

        Raises:
            UserError: it makes token ids or lengths that the text encoder has no embedding for.
        """
        tokenizer = load_tokenizer(self.folder / "tokenizer", CLIPTokenizer.from_pretrained)
        positions = self.text_encoder.max_position_embeddings
        vocabulary = self.text_encoder.vocab_size
        if tokenizer.pad_token_id is None:
            raise UserError(
                f"diffusion model {self.source}: its tokenizer has no pad_token: get the whole"
                " model again"
            )
        length = tokenizer.model_max_length
        if isinstance(length, int | float) and length > _UNSTATED:
            length = tokenizer.model_max_length = positions
        is_length = isinstance(length, int) and 2 <= length <= positions
        if not is_length or len(tokenizer) > vocabulary:
            raise UserError(
                f"diffusion model {self.source}: its tokenizer makes {length!r} tokens of"
                f" {len(tokenizer)} kinds, its text encoder takes {positions} of {vocabulary}: get"
                " the whole model again"
            )
        return tokenizer

    def _require_finite(self, state: dict[str, torch.Tensor], part: str) -> None:
        require_finite(state, f"diffusion model {self.source}, {part}", "get the whole model again")
