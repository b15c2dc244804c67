"""The frozen UNet as a function of images' projections, over rows of the grid that DCR contrasts.

Notation: R rows (noisy latents), K columns (conditions) of each, m condition width, T tokens, C x h x w latent shape.

Two savings are exact and can be switched off:
- Constant keys and values. The same vector p added to every token shifts all attention scores of a query alike, so
  ``cross_attention(q, U + p) = cross_attention(q, U) + W_o W_v p``: keys and values of the empty prompt U are computed
  once, and p enters as a bias. It needs linear keys without a norm; other UNets take the general path.
- Shared prefix. What does not depend on the condition is the same in all columns of a row and is computed once a row.
  Autograd tells which modules these are: their outputs need no gradient while the condition does.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import nn
from torch.nn import functional as F

from dcr.diffusion import Diffusion
from dcr.projector import condition

_log = logging.getLogger(__name__)


class Predictor:
    """Calls the UNet on every pair of a row's noisy latent and a column's condition.

    Shape: noisy_latents (R, C, h, w), timesteps (R,), projections (R, K, m) -> predictions (R, K, C, h, w), in the
    UNet's dtype. Projections (R, K, tokens, m) are further tokens beside the empty prompt's; their keys differ from
    image to image, so they take the general path. The UNet is left as it was after every call.

    Args:
        constant_prompt: precompute keys and values of the empty prompt, where the UNet allows it.
        shared_prefix: compute what the condition does not reach once a row.
        mask_padding: hide the padding of the empty prompt from the text encoder, as the published code does.
    """

    def __init__(
        self,
        diffusion: Diffusion,
        constant_prompt: bool = False,
        shared_prefix: bool = False,
        mask_padding: bool = False,
    ) -> None:
        self._diffusion, self._shared_prefix = diffusion, shared_prefix
        self._empty_prompt = diffusion.encode_prompts([""], mask_padding)
        self._constant_prompt = constant_prompt and allows_constant_prompt(diffusion.unet)
        if constant_prompt and not self._constant_prompt:
            _log.info("the condition enters this UNet by more than plain cross-attention: it takes the general path.")
        self._attention = _cross_attention(diffusion.unet) if self._constant_prompt else []
        self._processors: list[ConstantPromptProcessor] = []
        self._dtype: torch.dtype | None = None
        self._shared: dict[bool, list[nn.Module]] = {}

    def __call__(self, noisy_latents: torch.Tensor, timesteps: torch.Tensor, projections: torch.Tensor) -> torch.Tensor:
        columns, constant = projections.shape[1], self._constant_prompt and projections.ndim == 3
        if constant:
            self._prepare()
        share = self._shared_prefix and columns > 1
        if share and constant not in self._shared:
            self._find_shared(noisy_latents[:1], timesteps[:1], projections[:1, :2], constant)
        shared = self._shared[constant] if share else []
        with self._constant(columns if share else 1, constant), _once_a_row(shared, columns):
            return self._predict(noisy_latents, timesteps, projections, constant)

    def _predict(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, projections: torch.Tensor, constant: bool
    ) -> torch.Tensor:
        columns, flat = projections.shape[1], projections.flatten(0, 1)
        conditions = flat[:, None] if constant else condition(self._empty_prompt, flat)
        predictions = self._diffusion.predict(
            noisy.repeat_interleave(columns, dim=0), timesteps.repeat_interleave(columns), conditions
        )
        return predictions.unflatten(0, (-1, columns))

    def _prepare(self) -> None:
        """Compute keys and values of the prompt, again where the UNet was cast since."""
        dtype = self._diffusion.dtype
        if dtype != self._dtype:
            prompt = self._empty_prompt.to(dtype)
            self._processors = [ConstantPromptProcessor(attention, prompt) for attention in self._attention]
            self._dtype = dtype
            self._shared.pop(True, None)

    @contextmanager
    def _constant(self, columns: int, constant: bool) -> Iterator[None]:
        """Put the processors with constant keys and values in place, and the UNet's own back afterwards."""
        own = [attention.processor for attention in self._attention]
        try:
            for attention, processor in zip(self._attention, self._processors, strict=True) if constant else ():
                processor.columns = columns
                attention.processor = processor
            yield
        finally:
            for attention, processor in zip(self._attention, own, strict=True):
                attention.processor = processor

    @torch.enable_grad()
    def _find_shared(
        self, noisy: torch.Tensor, timesteps: torch.Tensor, projections: torch.Tensor, constant: bool
    ) -> None:
        """Find the modules whose outputs do not depend on the condition, largest first."""
        depends: dict[nn.Module, bool] = {}

        def note(module: nn.Module, _: Any, output: Any) -> None:
            depends[module] = depends.get(module, False) or any(t.requires_grad for t in _tensors(output))

        unet = self._diffusion.unet
        hooks = [module.register_forward_hook(note) for module in unet.modules()]
        try:
            with self._constant(1, constant):
                self._predict(noisy, timesteps, projections.detach().requires_grad_(), constant)
        finally:
            for hook in hooks:
                hook.remove()
        for processor in self._processors if constant else []:
            processor.shared = not processor.query_depends
        independent = {module for module, reached in depends.items() if not reached}
        inner = {child for module in independent for child in module.modules() if child is not module}
        self._shared[constant] = [module for module in independent if module not in inner]


class ConstantPromptProcessor:
    """Cross-attention to the empty prompt with each image's projection as a bias on its output.

    It is called with the projection as the only token, (N, 1, m). ``shared`` says that queries are equal in the
    ``columns`` of a row, so that attention itself is computed once a row.
    """

    def __init__(self, attention: Attention, prompt: torch.Tensor) -> None:
        self.columns, self.shared, self.query_depends = 1, False, True
        with torch.no_grad():
            self._key, self._value = (
                project(prompt).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
                for project in (attention.to_k, attention.to_v)
            )

    def __call__(
        self,
        attention: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        temb: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the attention's output, (N, L, w), for queries (N, L, w)."""
        query = attention.to_q(hidden_states)
        self.query_depends = query.requires_grad
        once = self.shared and self.columns > 1
        attended = self._attend(attention, query[:: self.columns] if once else query)
        if once:
            attended = attended.repeat_interleave(self.columns, dim=0)
        bias = F.linear(encoder_hidden_states, attention.to_v.weight)  # its own bias is in the prompt's values
        return attention.to_out[1](attention.to_out[0](attended + bias))

    def _attend(self, attention: Attention, query: torch.Tensor) -> torch.Tensor:
        """Return what queries, (N, L, w), find in the prompt's keys and values, which are the same for all images.

        On a CPU the queries of all images make one long sequence, which takes half the time of short ones. On a GPU
        they do not: flash attention's backward pass is parallel over images and keys, and the keys are few.
        """
        queries = (query if query.is_cuda else query.flatten(0, 1)[None]).unflatten(-1, (attention.heads, -1))
        queries = queries.transpose(1, 2)
        if attention.norm_q is not None:
            queries = attention.norm_q(queries)
        key, value = (t.expand(len(queries), -1, -1, -1) for t in (self._key, self._value))
        attended = F.scaled_dot_product_attention(queries, key, value)
        return attended.transpose(1, 2).flatten(2).view_as(query)


def allows_constant_prompt(unet: nn.Module) -> bool:
    """Tell whether the condition enters this UNet through plain cross-attention alone."""
    config = unet.config
    if getattr(config, "encoder_hid_dim_type", None) or getattr(config, "addition_embed_type", None):
        return False
    attentions = _cross_attention(unet)
    return bool(attentions) and all(_is_plain(attention) for attention in attentions)


def _cross_attention(unet: nn.Module) -> list[Attention]:
    return [module for module in unet.modules() if isinstance(module, Attention) and module.is_cross_attention]


def _is_plain(attention: Attention) -> bool:
    extras = (attention.norm_k, attention.norm_cross, attention.spatial_norm, attention.group_norm)
    return (
        type(attention.processor) in (AttnProcessor, AttnProcessor2_0)
        and all(not extra for extra in extras)
        and attention.added_kv_proj_dim is None
        and attention.rescale_output_factor == 1
        and not attention.residual_connection
        and type(attention.to_k) is nn.Linear
        and type(attention.to_v) is nn.Linear
    )


@contextmanager
def _once_a_row(modules: list[nn.Module], columns: int) -> Iterator[None]:
    """Let the modules see each row once and repeat what they return for its columns."""

    def forward(own: Any, *args: Any, **kwargs: Any) -> Any:
        size = max(t.shape[0] for t in _tensors((args, kwargs)) if t.ndim)
        args, kwargs = _map((args, kwargs), lambda t: t[::columns] if _is_batch(t, size) else t)
        return _map(
            own(*args, **kwargs),
            lambda t: t.repeat_interleave(columns, dim=0) if _is_batch(t, size // columns) else t,
        )

    try:
        for module in modules:
            module.forward = partial(forward, module.forward)
        yield
    finally:
        for module in modules:
            module.__dict__.pop("forward", None)  # the class's own shows again


def _is_batch(tensor: torch.Tensor, size: int) -> bool:
    return tensor.ndim > 0 and tensor.shape[0] == size


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _map(value: Any, function: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _map(item, function) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_map(item, function) for item in value)
    return value
