"""The linear layers of an image tower that LoRA may touch, and attention in a form that lets it.

``nn.MultiheadAttention`` holds q, k and v in one fused parameter and calls neither it nor
``out_proj`` as a module, so LoRA put on it is ignored or impossible. Before training it is split
into four linear layers, afterwards fused again; both are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from dcr.errors import UserError

_PROJECTIONS = ("q_proj", "k_proj", "v_proj")
_FUSED_PROJECTIONS = "qkv"  # timm's one layer for all three
LORA_LAYERS = ("q", "k", "v", "out", "mlp")
"""The layers of a transformer block that LoRA may touch."""


class SplitAttention(nn.Module):
    """Multi-head attention with separate linear layers, called as ``nn.MultiheadAttention`` is by
    open_clip's blocks.

    Shape: query (B, L, w), key and value (B, S, w) if ``batch_first``, else (L, B, w) and (S, B,
    w); the output is (attention output, None). The attention mask is additive, (L, S), or None.

    Args:
        fused: the attention whose weights are copied; q, k and v must be of one width.

    Raises:
        ValueError: ``fused`` has different widths, or an extra key or value.
    """

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
        """Return an ``nn.MultiheadAttention`` with the same weights; ValueError while an
        adapter is on them.
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


def split_attention(visual: nn.Module) -> None:
    """Replace, in place, the fused attention of every transformer block by `SplitAttention` with
    the same weights.

    A pooling head's attention stays as it is: it is no target of LoRA. Towers whose blocks already
    have layers that are called as modules (transformers, timm) keep them. EVA's fused q, k and v
    are such a layer only where the bias is added afterwards; timm can do either, with equal
    results.

    Args:
        visual: the image tower.
    """
    from timm.models.eva import EvaAttention

    for block in transformer_blocks(visual):
        _replace(block, nn.MultiheadAttention, SplitAttention)
        for module in block.modules():
            if isinstance(module, EvaAttention):
                module.qkv_bias_separate = True


def fuse_attention(visual: nn.Module) -> None:
    """Undo `split_attention` on ``visual``, in place; the weights, merged adapters included,
    keep every bit.
    """
    _replace(visual, SplitAttention, SplitAttention.fuse)


def fused_state_dict(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state of ``model`` with the names it has when its attention is fused; the
    model is not changed.
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


def lora_targets(visual: nn.Module, layers: Sequence[str] = LORA_LAYERS) -> list[str]:
    """Return the names of the linear layers that LoRA may touch: attention and MLP of every
    transformer block.

    Found by module type. Patch embedding, norms, projections and pooling heads are no targets.
    ValueError if fused attention is still there (`split_attention` comes first).

    Args:
        visual: the image tower.
        layers: which of `LORA_LAYERS`; timm's q, k and v are one layer, which is a target if all
            three are named.

    Raises:
        UserError: only some of q, k and v are named, and the tower has them in one layer.
    """
    names = {id(module): name for name, module in visual.named_modules()}
    targets = []
    for block in transformer_blocks(visual):
        for module in block.modules():
            if isinstance(module, nn.MultiheadAttention):
                raise ValueError(
                    "visual must have split attention, got fused: call split_attention first"
                )
            if isinstance(module, nn.Linear) and _is_chosen(names[id(module)], layers):
                targets.append(names[id(module)])
    return targets


def _is_chosen(name: str, layers: Sequence[str]) -> bool:
    """Tell whether a linear layer of a transformer block, by its full name, is one of
    ``layers``.
    """
    *_, parent, own = name.split(".")
    if own == _FUSED_PROJECTIONS:
        found = {"q", "k", "v"} & set(layers)
        if found and len(found) < 3:
            raise UserError(
                f"lora_targets must name all or none of q, k, v: {name} holds the three in one"
                " layer"
            )
        return bool(found)
    if own in _PROJECTIONS:
        return own[0] in layers
    return ("out" if "attn" in parent else "mlp") in layers


def merge_lora(visual: nn.Module) -> None:
    """Add the trained LoRA factors of ``visual`` to the weights they adapt and take the adapter
    off, in place.
    """
    from peft.tuners.lora import LoraLayer

    _replace(visual, LoraLayer, _merged)
    if hasattr(visual, "peft_config"):
        del visual.peft_config


def has_adapter(module: nn.Module) -> bool:
    """Tell whether PEFT layers are still on ``module`` or on a part of it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(child, BaseTunerLayer) for child in module.modules())


def _merged(layer: nn.Module) -> nn.Module:
    layer.merge()
    return layer.get_base_layer()


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, trainable: bool) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight.detach().clone(), trainable)
    if bias is not None:
        linear.bias = nn.Parameter(bias.detach().clone(), trainable)
    return linear


def _replace(module: nn.Module, kind: type, build) -> None:
    """Replace every descendant of type ``kind`` by ``build(descendant)``."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, build(child))
        else:
            _replace(child, kind, build)


def transformer_blocks(visual: nn.Module) -> Iterator[nn.Module]:
    """Yield the residual attention blocks of ``visual`` in order; UserError if it has none of a
    known kind.
    """
    from open_clip.transformer import ResidualAttentionBlock
    from timm.models.eva import EvaBlock, EvaBlockPostNorm
    from timm.models.vision_transformer import Block
    from transformers.models.clip.modeling_clip import CLIPEncoderLayer
    from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

    kinds = (
        ResidualAttentionBlock,
        Block,
        EvaBlock,
        EvaBlockPostNorm,
        CLIPEncoderLayer,
        SiglipEncoderLayer,
    )
    blocks = [module for module in visual.modules() if isinstance(module, kinds)]
    if not blocks:
        known = ", ".join(kind.__name__ for kind in kinds)
        raise UserError(
            f"The image tower ({type(visual).__name__}) has no transformer block that LoRA knows"
            f" ({known}): choose a ViT backbone."
        )
    yield from blocks
