"""The frozen UNet as a function of images' projections, over rows of the grid that DCR contrasts.

Notation: R rows (noisy latents), K columns (conditions) of each, m condition width, T tokens, C x h
x w latent shape.

Two savings are exact and can be switched off (a third, `dcr.training.unet.upsampling`, lies in the
UNet itself):
- Constant keys and values: those of the empty prompt are computed once, and the condition enters as
  a bias; see `dcr.training.unet.constant_prompt`. UNets that do not allow it take the general path.
- Shared prefix. What does not depend on the condition is the same in all columns of a row and is
  computed once a row. Autograd tells which modules these are: their outputs need no gradient while
  the condition does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn

from dcr.models.diffusion import Diffusion
from dcr.models.projector import condition
from dcr.training.unet.constant_prompt import (
    ConstantPromptProcessor,
    allows_constant_prompt,
    cross_attention,
)

_FEATURES_NDIM = 3  # (N, places, channels), or (N, channels, h, w)
_log = logging.getLogger(__name__)

Predict = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy_latents (R, C, h, w), timesteps (R,), projections (R, K, m)) -> predictions (R, K, C,
h, w).
"""


class Predictor:
    """Calls the UNet on every pair of a row's noisy latent and a column's condition.

    Shape: noisy_latents (R, C, h, w), timesteps (R,), projections (R, K, m) -> predictions (R, K,
    C, h, w), in the UNet's dtype. Projections (R, K, tokens, m) are further tokens beside the empty
    prompt's; their keys differ from image to image, so they take the general path. The UNet is left
    as it was after every call.

    Args:
        diffusion: frozen; its UNet predicts and its text encoder reads the empty prompt.
        constant_prompt: precompute keys and values of the empty prompt, where the UNet allows it.
        shared_prefix: compute what the condition does not reach once a row.
        mask_padding: hide the padding of the empty prompt from the text encoder, as the published
            code does.
    """

    def __init__(
        self,
        diffusion: Diffusion,
        constant_prompt: bool = False,
        shared_prefix: bool = False,
        mask_padding: bool = False,
    ) -> None:
        self._diffusion = diffusion
        self._shared_prefix = shared_prefix
        self._empty_prompt = diffusion.encode_prompts([""], mask_padding)
        self._constant_prompt = constant_prompt and allows_constant_prompt(diffusion.unet)
        if constant_prompt and not self._constant_prompt:
            _log.info(
                "the condition enters this UNet by more than plain cross-attention: it takes the"
                " general path."
            )
        self._attention = cross_attention(diffusion.unet) if self._constant_prompt else []
        self._processors: list[ConstantPromptProcessor] = []
        self._dtype: torch.dtype | None = None
        self._shared: dict[bool, list[nn.Module]] = {}

    def __call__(
        self, noisy_latents: torch.Tensor, timesteps: torch.Tensor, projections: torch.Tensor
    ) -> torch.Tensor:
        columns = projections.shape[1]
        constant = self._constant_prompt and projections.ndim == 3
        if constant:
            self._prepare()
        share = self._shared_prefix and columns > 1
        if share and constant not in self._shared:
            self._find_shared(noisy_latents[:1], timesteps[:1], projections[:1, :2], constant)
        shared = self._shared[constant] if share else []
        with self._constant(columns if share else 1, constant), _once_a_row(shared, columns):
            return self._predict(noisy_latents, timesteps, projections, constant)

    @torch.no_grad()
    def shared_modules(self) -> set[nn.Module]:
        """Return the modules that are computed once a row; none where that is not asked for.

        They must be called as they are, as compiled blocks are not, which do not see that modules
        in them are replaced.
        """
        if not self._shared_prefix:
            return set()
        config = self._diffusion.unet.config
        side = 2 ** len(config.block_out_channels)
        device = self._diffusion.device
        noisy = torch.zeros(1, config.in_channels, side, side, device=device)
        timesteps = torch.zeros(1, dtype=torch.long, device=device)
        # in both ways of a condition, of which a run takes one
        self(noisy, timesteps, torch.zeros(1, 2, config.cross_attention_dim, device=device))
        self(noisy, timesteps, torch.zeros(1, 2, 1, config.cross_attention_dim, device=device))
        return {module for modules in self._shared.values() for module in modules}

    def _predict(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        projections: torch.Tensor,
        constant: bool,
    ) -> torch.Tensor:
        columns = projections.shape[1]
        flat = projections.flatten(0, 1)
        conditions = flat[:, None] if constant else condition(self._empty_prompt, flat)
        predictions = self._diffusion.predict(
            noisy.repeat_interleave(columns, dim=0),
            timesteps.repeat_interleave(columns),
            conditions,
        )
        by_row: torch.Tensor = predictions.unflatten(0, (-1, columns))
        return by_row

    def _prepare(self) -> None:
        """Compute keys and values of the prompt, again where the UNet was cast since."""
        dtype = self._diffusion.dtype
        if dtype != self._dtype:
            prompt = self._empty_prompt.to(dtype)
            self._processors = [
                ConstantPromptProcessor(attention, prompt) for attention in self._attention
            ]
            self._dtype = dtype
            self._shared.pop(True, None)

    @contextmanager
    def _constant(self, columns: int, constant: bool) -> Iterator[None]:
        """Put the constant processors in place, and the UNet's own back afterwards."""
        own = [attention.processor for attention in self._attention]
        try:
            for attention, processor in (
                zip(self._attention, self._processors, strict=True) if constant else ()
            ):
                processor.columns = columns
                attention.processor = processor
            yield
        finally:
            for attention, processor in zip(self._attention, own, strict=True):
                attention.processor = processor

    @torch.enable_grad()
    def _find_shared(
        self,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        projections: torch.Tensor,
        constant: bool,
    ) -> None:
        """Find the modules whose outputs do not depend on the condition, largest first.

        Embeddings of timesteps do not either, but are no work: they are left in their blocks.
        """
        depends: dict[nn.Module, bool] = {}

        def note(module: nn.Module, _: Any, output: Any) -> None:
            """Note of ``module`` whether its ``output`` needs a gradient, or is no feature map."""
            depends[module] = depends.get(module, False) or any(
                t.requires_grad or t.ndim < _FEATURES_NDIM for t in _tensors(output)
            )

        unet = self._diffusion.unet
        hooks = [module.register_forward_hook(note) for module in unet.modules()]
        try:
            # blocks that an earlier run compiled would be compiled again, with the hooks
            with self._constant(1, constant), torch.compiler.set_stance("force_eager"):
                self._predict(noisy, timesteps, projections.detach().requires_grad_(), constant)
        finally:
            for hook in hooks:
                hook.remove()
        for processor in self._processors if constant else []:
            processor.shared = not processor.query_depends
        independent = {module for module, reached in depends.items() if not reached}
        inner = {
            child for module in independent for child in module.modules() if child is not module
        }
        self._shared[constant] = [module for module in independent if module not in inner]


@contextmanager
def _once_a_row(modules: list[nn.Module], columns: int) -> Iterator[None]:
    """Let the modules see each row once and repeat what they return for its columns."""

    def forward(own: Any, *args: Any, **kwargs: Any) -> Any:
        """Call ``own``, the module's forward, with every row's first column; repeat the result."""
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
