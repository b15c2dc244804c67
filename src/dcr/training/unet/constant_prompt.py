"""Cross-attention to the empty prompt plus a condition, with constant keys and values.

The same vector p added to every token shifts all attention scores of a query alike, so
``cross_attention(x, U + p) = cross_attention(x, U) + W_o W_v p``: keys K and values V of the empty
prompt U are computed once, and p enters as a bias. It needs linear keys without a norm.

Constant keys and values can be multiplied with the projections around them too, once for all: for a
head of width d, ``W_o (softmax(W_q x K^T / sqrt(d)) V) = softmax(x A) B`` with ``A = W_q^T K^T /
sqrt(d)`` and ``B = V W_o^T``.

Notation: N images, L queries of each, T tokens of the prompt, H heads, w width of queries and
output, m condition width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import nn
from torch.nn import functional as F


class ConstantPromptProcessor:
    """Cross-attention to the empty prompt with each image's projection as a bias on its output.

    It is called with the projection as the only token, (N, 1, m). ``shared`` says that queries are
    equal in the ``columns`` of a row, so that attention itself is computed once a row.

    Args:
        attention: the layer, whose weights make keys and values.
        prompt: hidden states of the empty prompt, (1, T, m), in the layer's dtype.
    """

    def __init__(self, attention: Attention, prompt: torch.Tensor) -> None:
        self.columns = 1
        self.shared = False
        self.query_depends = True
        with torch.no_grad():
            self._key, self._value = (
                project(prompt).unflatten(-1, (attention.heads, -1)).transpose(1, 2)
                for project in (attention.to_k, attention.to_v)
            )
            self._folded = (
                FoldedPrompt(attention, self._key[0], self._value[0])
                if _folds(attention, prompt)
                else None
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
        self.query_depends = hidden_states.requires_grad
        # The layer's own bias is in the prompt's values.
        bias = F.linear(encoder_hidden_states, attention.to_v.weight)
        if self._folded is None:
            query = attention.to_q(hidden_states)
            output = attention.to_out[0](
                self._once(lambda q: self._attend(attention, q), query) + bias
            )
        else:
            output = self._once(self._folded, hidden_states) + F.linear(
                bias, attention.to_out[0].weight
            )
        dropped: torch.Tensor = attention.to_out[1](output)
        return dropped

    def _once(
        self, attend: Callable[[torch.Tensor], torch.Tensor], queries: torch.Tensor
    ) -> torch.Tensor:
        """Attend once a row where queries are equal in all of its columns."""
        if not self.shared or self.columns == 1:
            return attend(queries)
        return attend(queries[:: self.columns]).repeat_interleave(self.columns, dim=0)

    def _attend(self, attention: Attention, query: torch.Tensor) -> torch.Tensor:
        """Return what queries, (N, L, w), find in the prompt's keys and values.

        These are the same for all images. On a CPU the queries of all images make one long
        sequence, which takes half the time of short ones. On a GPU they do not: flash attention's
        backward pass is parallel over images and keys, and the keys are few.
        """
        queries = (query if query.is_cuda else query.flatten(0, 1)[None]).unflatten(
            -1, (attention.heads, -1)
        )
        queries = queries.transpose(1, 2)
        if attention.norm_q is not None:
            queries = attention.norm_q(queries)
        key, value = (t.expand(len(queries), -1, -1, -1) for t in (self._key, self._value))
        attended = F.scaled_dot_product_attention(queries, key, value)
        return attended.transpose(1, 2).flatten(2).view_as(query)


class FoldedPrompt:
    """Attention to constant keys and values, (H, T, d), with its projections: ``softmax(x A) B``.

    Shape: (N, L, w) -> (N, L, w).

    Args:
        attention: the layer, whose projections of queries and outputs are multiplied in.
        key, value: of the prompt, (H, T, d).
    """

    def __init__(self, attention: Attention, key: torch.Tensor, value: torch.Tensor) -> None:
        heads = attention.heads
        to_out = attention.to_out[0]
        queries = attention.to_q.weight.unflatten(0, (heads, -1)) * key.shape[-1] ** -0.5
        outputs = to_out.weight.unflatten(1, (heads, -1))
        self._heads = heads
        self._output_bias = to_out.bias
        self._scores = torch.einsum("htd,hdw->htw", key, queries).flatten(0, 1)
        self._outputs = torch.einsum("htd,whd->wht", value, outputs).flatten(1)

    def __call__(self, queries: torch.Tensor) -> torch.Tensor:
        scores = F.linear(queries, self._scores).unflatten(-1, (self._heads, -1))
        return F.linear(scores.softmax(dim=-1).flatten(2), self._outputs, self._output_bias)


def _folds(attention: Attention, prompt: torch.Tensor) -> bool:
    """Tell whether folding takes fewer operations, and is as exact.

    A query's are w T H in place of (w + T) H d. Half precision would round the scores, which flash
    attention keeps in float32.
    """
    tokens = prompt.shape[1]
    width = attention.query_dim
    inner = attention.inner_dim
    return (
        prompt.dtype in (torch.float32, torch.float64)
        and attention.norm_q is None
        and all(type(layer) is nn.Linear for layer in (attention.to_q, attention.to_out[0]))
        and attention.to_q.bias is None
        and width * tokens * attention.heads < (width + tokens) * inner
    )


def allows_constant_prompt(unet: nn.Module) -> bool:
    """Tell whether conditions enter diffusers' ``unet`` through plain cross-attention alone."""
    config = unet.config
    if getattr(config, "encoder_hid_dim_type", None) or getattr(
        config, "addition_embed_type", None
    ):
        return False
    attentions = cross_attention(unet)
    return bool(attentions) and all(_is_plain(attention) for attention in attentions)


def cross_attention(unet: nn.Module) -> list[Attention]:
    """Return the layers of ``unet`` through which a condition enters, in its modules' order."""
    return [
        module
        for module in unet.modules()
        if isinstance(module, Attention) and module.is_cross_attention
    ]


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
