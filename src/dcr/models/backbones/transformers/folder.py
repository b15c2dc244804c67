"""A folder of transformers as checked data: its configuration, and weights that fit it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN

from dcr.data.hub_files import WEIGHTS
from dcr.errors import UserError, first_line
from dcr.models.model_configs import check_numbers, pick, read_json
from dcr.models.weights import find_weights, fit, read_weights

_TOP = ("projection_dim", "logit_scale_init_value", "initializer_factor")
_PARTS = ("text_config", "vision_config", "text_config_dict", "vision_config_dict")
# SigLIP's defaults lie outside of its own vocabulary
_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
_TOWER = (
    *("hidden_size", "intermediate_size", "projection_dim", "projection_size", "num_hidden_layers"),
    *("num_attention_heads", "num_channels", "image_size", "patch_size", "vocab_size"),
    *("max_position_embeddings", "hidden_act", "layer_norm_eps", "attention_dropout", "dropout"),
    *("initializer_range", "initializer_factor", "vision_use_head", *_IDS),
)


def model_type_of(folder: Path) -> str | None:
    """Return what ``config.json`` in ``folder`` calls its model; None where it cannot be read."""
    try:
        return str(read_json(folder / "config.json").get("model_type"))
    except UserError:  # told by who reads the folder
        return None


@dataclass(frozen=True)
class TransformersFolder:
    """A folder whose configuration has been read and checked.

    path: the folder. model_class: of the family. config: as that class takes it. weights: the file
    with the weights.
    """

    path: Path
    model_class: type[PreTrainedModel]
    config: PreTrainedConfig
    weights: Path

    @classmethod
    def read(cls, folder: Path, model_class: type[PreTrainedModel]) -> Self:
        """Return the folder as data, weights unread.

        Args:
            folder: with ``config.json`` of the class's ``model_type``.
            model_class: of transformers.

        Raises:
            UserError: the configuration cannot be read, or there are no weights.
        """
        path = folder / "config.json"
        parts = pick(read_json(path), (*_PARTS, *_TOP), path)
        parts |= {name: pick(parts[name] or {}, _TOWER, path) for name in _PARTS if name in parts}
        for name, part in parts.items():
            if name in _PARTS and part.get("hidden_act", "gelu") not in ACT2FN:
                raise UserError(
                    f"{path}: {name} has hidden_act {part['hidden_act']!r}, which transformers does"
                    " not know"
                )
        try:
            config = model_class.config_class(**parts)
        except Exception as error:  # whatever foreign values may raise
            raise UserError(
                f"{path} cannot be read by transformers ({first_line(error)}): replace it"
            ) from error
        return cls(folder, model_class, config, find_weights(folder, WEIGHTS["transformers"]))

    def fitted(self, only_shapes: bool = False) -> dict[str, torch.Tensor]:
        """Return the weights under the model's names.

        What cannot be a model of these weights is refused unbuilt.

        Args:
            only_shapes: read no values: the weights then are tensors on ``meta``.

        Raises:
            UserError: they do not fit the configuration.
        """
        path = self.path / "config.json"
        state = read_weights(self.weights, only_shapes)
        for part in (self.config.text_config, self.config.vision_config):
            numbers = {key: getattr(part, key, None) for key in _TOWER if key not in _IDS}
            check_numbers(numbers, state, path)
        try:
            with torch.device("meta"):
                model = self.model_class(self.config)
        except Exception as error:  # whatever foreign values may raise
            raise UserError(
                f"{path} cannot be built by transformers ({first_line(error)}): replace it"
            ) from error
        return fit(state, model, self.weights)

    def load(self) -> Any:
        """Return the model with its weights, in float32 on the CPU; UserError as `fitted` has."""
        return self.model_class.from_pretrained(
            None,
            config=self.config,
            state_dict=self.fitted(),
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=False,
        )
