"""LoRA on an image tower of any family: its blocks, the layers that it may touch, the way back.

What a tower's blocks are is told by the families (`dcr.models.backbones.blocks`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from dcr.errors import UserError
from dcr.models.backbones.attention import replace_modules
from dcr.models.backbones.blocks import LORA_LAYERS, Blocks
from dcr.models.backbones.families import families


def transformer_blocks(visual: nn.Module) -> Iterator[nn.Module]:
    """Yield the residual attention blocks of ``visual`` in order.

    Raises:
        UserError: it has none of a known kind.
    """
    yield from (block for block, _ in _blocks(visual))


def split_attention(visual: nn.Module) -> None:
    """Make LoRA act on the linear layers of every transformer block, in place, with equal results.

    A pooling head's attention stays as it is: it is no target of LoRA. `fuse_attention` leads back.

    Args:
        visual: the image tower.
    """
    for block, kind in _blocks(visual):
        kind.split(block)


def lora_targets(visual: nn.Module, layers: Sequence[str] = LORA_LAYERS) -> list[str]:
    """Return the linear layers LoRA may touch: attention and MLP of every transformer block.

    They are found by module type and given by name. Patch embedding, norms, projections and pooling
    heads are no targets. ValueError if fused attention is still there (`split_attention` comes
    first).

    Args:
        visual: the image tower.
        layers: which of `LORA_LAYERS`; q, k and v that are one layer are a target if all three are
            named.

    Raises:
        UserError: only some of q, k and v are named, and the tower has them in one layer.
    """
    names = {id(module): name for name, module in visual.named_modules()}
    targets = []
    for block, kind in _blocks(visual):
        for module in block.modules():
            if isinstance(module, nn.MultiheadAttention):
                raise ValueError(
                    "visual must have split attention, got fused: call split_attention first"
                )
            name = names[id(module)]
            if isinstance(module, nn.Linear) and _is_chosen(name, kind.layers_of(name), layers):
                targets.append(name)
    return targets


def merge_lora(visual: nn.Module) -> None:
    """Merge the trained LoRA factors of ``visual`` into its weights, in place.

    The adapter is taken off.
    """
    from peft.tuners.lora import LoraLayer

    def merged(layer: LoraLayer) -> nn.Module:
        layer.merge()
        base: nn.Module = layer.get_base_layer()
        return base

    replace_modules(visual, LoraLayer, merged)
    if hasattr(visual, "peft_config"):
        del visual.peft_config


def has_adapter(module: nn.Module) -> bool:
    """Tell whether PEFT layers are still on ``module`` or on a part of it."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return any(isinstance(child, BaseTunerLayer) for child in module.modules())


def _is_chosen(name: str, held: frozenset[str], layers: Sequence[str]) -> bool:
    chosen = held & set(layers)
    if chosen and chosen != held:
        together = ", ".join(layer for layer in LORA_LAYERS if layer in held)
        raise UserError(
            f"training.tuning.lora.targets must name all or none of {together}: {name} holds them"
            " in one layer"
        )
    return bool(chosen)


def _blocks(visual: nn.Module) -> list[tuple[nn.Module, Blocks]]:
    """Return the transformer blocks of a tower, each with its make.

    The make is that of its class, or of the nearest base that is a block.
    """
    makes = {kind: family.blocks for family in families() for kind in family.blocks.types}
    found = []
    for module in visual.modules():
        make = next((makes[kind] for kind in type(module).__mro__ if kind in makes), None)
        if make is not None:
            found.append((module, make))
    if not found:
        known = ", ".join(kind.__name__ for kind in makes)
        raise UserError(
            f"The image tower ({type(visual).__name__}) has no transformer block that LoRA knows"
            f" ({known}): choose a ViT backbone."
        )
    return found
