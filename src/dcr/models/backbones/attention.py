"""PyTorch's fused attention in a form that lets LoRA touch it.

``nn.MultiheadAttention`` holds q, k and v in one fused parameter and calls neither it nor
``out_proj`` as a module, so LoRA put on it is ignored or impossible. Before training it is split
into four linear layers, afterwards fused again; both are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

_PROJECTIONS = ("q_proj", "k_proj", "v_proj")


class SplitAttention(nn.Module):
    """Multi-head attention with separate linear layers, called as open_clip's blocks call theirs.

    The call is that of ``nn.MultiheadAttention``.

    Shape: query (B, L, w), key and value (B, S, w) if ``batch_first``, else (L, B, w) and (S, B,
    w); the output is (attention output, None). The attention mask is additive, (L, S), or None.

    Args:
        fused: the attention whose weights are copied; q, k and v must be of one width.

    Raises:
        ValueError: ``fused`` has different widths, or an extra key or value.
    """

    q_proj: nn.Linear
    k_proj: nn.Linear
    v_proj: nn.Linear

    def __init__(self, fused: nn.MultiheadAttention) -> None:
        super().__init__()
        if not fused._qkv_same_embed_dim or fused.bias_k is not None or fused.add_zero_attn:
            raise ValueError(
                "fused must have equal q, k, v widths and no extra key or value, got another kind"
            )
        self.embed_dim = fused.embed_dim
        self.num_heads = fused.num_heads
        self.dropout = fused.dropout
        self.batch_first = fused.batch_first
        weights = fused.in_proj_weight.chunk(3)
        biases = (None,) * 3 if fused.in_proj_bias is None else fused.in_proj_bias.chunk(3)
        for name, weight, bias in zip(_PROJECTIONS, weights, biases, strict=True):
            setattr(self, name, _linear(weight, bias, fused.in_proj_weight.requires_grad))
        out = fused.out_proj
        self.out_proj = _linear(out.weight, out.bias, out.weight.requires_grad)
        self.train(fused.training)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        need_weights: bool = False,
        attn_mask: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, None]:
        """Return (attention output, None), shapes as in the class docstring.

        Args:
            query: (B, L, w).
            key: (B, S, w).
            value: (B, S, w).
            need_weights: False: the weights of the attention are not computed.
            attn_mask: additive, (L, S), or None.
        """
        if need_weights:
            raise ValueError("need_weights must be False, got True")
        if not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        q, k, v = (
            project(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project, x in ((self.q_proj, query), (self.k_proj, key), (self.v_proj, value))
        )
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, dropout_p=dropout)
        output = self.out_proj(attended.transpose(1, 2).flatten(2))
        return (output if self.batch_first else output.transpose(0, 1)), None

    def fuse(self) -> nn.MultiheadAttention:
        """Return an ``nn.MultiheadAttention`` with the same weights.

        Raises:
            ValueError: an adapter is on them.
        """
        parts = [getattr(self, name) for name in (*_PROJECTIONS, "out_proj")]
        if any(type(part) is not nn.Linear for part in parts):
            raise ValueError(
                "attention must be free of adapters before it is fused: merge them first"
            )
        has_bias = parts[0].bias is not None
        fused = nn.MultiheadAttention(
            self.embed_dim,
            self.num_heads,
            self.dropout,
            has_bias,
            batch_first=self.batch_first,
            device="meta",
        )
        trainable = parts[0].weight.requires_grad
        fused.in_proj_weight = nn.Parameter(
            torch.cat([p.weight.detach() for p in parts[:3]]), trainable
        )
        fused.out_proj.weight = nn.Parameter(parts[3].weight.detach().clone(), trainable)
        if has_bias:
            fused.in_proj_bias = nn.Parameter(
                torch.cat([p.bias.detach() for p in parts[:3]]), trainable
            )
            fused.out_proj.bias = nn.Parameter(parts[3].bias.detach().clone(), trainable)
        return fused.train(self.training)


def split_fused(module: nn.Module) -> None:
    """Replace every ``nn.MultiheadAttention`` below ``module`` by an equal `SplitAttention`."""
    replace_modules(module, nn.MultiheadAttention, SplitAttention)


def fuse_attention(visual: nn.Module) -> None:
    """Undo `split_fused` on a tower, in place.

    The weights, merged adapters included, keep every bit.
    """
    replace_modules(visual, SplitAttention, SplitAttention.fuse)


def fused_state_dict(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state of ``model`` with the names it has when its attention is fused.

    The model is not changed.
    """
    state = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, SplitAttention):
            for kind in ("weight", "bias"):
                parts = [
                    state.pop(f"{name}.{projection}.{kind}", None) for projection in _PROJECTIONS
                ]
                if parts[0] is not None:
                    state[f"{name}.in_proj_{kind}"] = torch.cat(parts)
    return state


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, trainable: bool) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach().clone(), trainable)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone(), trainable)
    return linear


def replace_modules(
    module: nn.Module, kind: type[nn.Module], build: Callable[[Any], nn.Module]
) -> None:
    """Replace every descendant of ``module`` of a kind by what is built of it, in place.

    Args:
        module: the root, which itself stays.
        kind: the class that is replaced; what lies below such a descendant is left alone.
        build: takes the descendant.
    """
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, build(child))
        else:
            replace_modules(child, kind, build)
