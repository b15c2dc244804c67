"""Upsampling of the UNet's maps and the convolution after it, as one transposed convolution.

diffusers' `Upsample2D` repeats every pixel in a square of 2 x 2 and convolves with weights w of 3 x
3, padding 1. In a dimension that is ``y[o] = sum_k w[k] x[(o + k - 1) // 2]``, where pixel j of x
stands twice. Taken by j, with t = o + 1 - 2 j, it is ``y[o] = sum_j x[j] (w[2 - t] + w[3 - t])``,
weights outside of 0 to 2 being 0: a transposed convolution with four weights, stride 2 and padding
1. In two dimensions that is 16 multiplications for a pixel of x and a pair of channels in place of
36, backward as forward, and the map of four times the size is never written.

Notation: N maps, I channels in, O out, h x w pixels.
"""

from __future__ import annotations

import logging
from itertools import product
from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.nn import functional as F

_MIN_SIDE = 4
"""Smaller maps take the general path: the kernel weighs more than they do.

On a core of a Xeon with AMX, 256 channels of 18 maps, float32, forward and backward: 4.6 and 6.5 ms
(folded) for 2 x 2, 16.8 and 13.8 for 4 x 4, 75 and 41 for 8 x 8. With 1280 channels of 17 maps,
whose kernel has 26 million weights, 4 x 4 take 0.41 and 0.51 s, 7 x 7 1.21 and 0.98.
"""
_log = logging.getLogger(__name__)


class FoldedUpsampling(Upsample2D):  # type: ignore[misc]  # diffusers' types are not read
    """Takes the place of an `Upsample2D`, whose convolution it shares.

    Shape: hidden states (N, I, h, w) -> (N, O, 2 h, 2 w), or of another ``output_size``, as
    latents ask whose sides are no power of two; these take the general path.

    Args:
        upsampling: that `folds`. The kernel is summed from its weights in float32, float64 if they
            are, and rounded once to their dtype. It is a buffer that no state dict has, so that it
            is moved, cast and laid out with the weights, and their hashes and files stay as they
            were.
    """

    kernel: torch.Tensor

    def __init__(self, upsampling: Upsample2D) -> None:
        super().__init__(upsampling.channels, out_channels=upsampling.out_channels)
        self.use_conv = True
        self.conv = upsampling.conv
        self.register_buffer("kernel", _fold(self.conv.weight), persistent=False)
        self.train(upsampling.training)

    def forward(
        self,
        hidden_states: torch.Tensor,
        output_size: tuple[int, int] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Return the upsampled and convolved map."""
        height, width = hidden_states.shape[-2:]
        twice = output_size is None or tuple(output_size) == (2 * height, 2 * width)
        if not twice or min(height, width) < _MIN_SIDE:
            general: torch.Tensor = super().forward(hidden_states, output_size, *args, **kwargs)
            return general
        return F.conv_transpose2d(hidden_states, self.kernel, self.conv.bias, stride=2, padding=1)


def fold_upsampling(unet: nn.Module) -> None:
    """Fold every upsampling of ``unet`` that `folds`, in place; others stay as they are.

    Args:
        unet: frozen, its weights as they were loaded: of those that were cast already the kernels
            are sums of rounded numbers. One that has been folded before is left as it is.
    """
    for parent in list(unet.modules()):
        for name, layer in list(parent.named_children()):
            if folds(layer):
                setattr(parent, name, FoldedUpsampling(layer))
    if not any(isinstance(layer, FoldedUpsampling) for layer in unet.modules()):
        _log.info("no upsampling of this UNet can be folded: it takes the general path.")


def folds(layer: nn.Module) -> bool:
    """Tell whether ``layer`` repeats pixels and then convolves plainly, with nothing between."""
    if type(layer) is not Upsample2D or layer.use_conv_transpose or not layer.interpolate:
        return False
    conv = getattr(layer, "conv", None)  # some models' has another name
    return (
        layer.norm is None
        and type(conv) is nn.Conv2d
        and conv.kernel_size == (3, 3)
        and conv.stride == conv.padding == conv.dilation == (1, 1)
        and conv.groups == 1
        and conv.padding_mode == "zeros"
    )


@torch.no_grad()
def _fold(weight: torch.Tensor) -> torch.Tensor:
    """Return the kernel (I, O, 4, 4) of weights (O, I, 3, 3), in their dtype."""
    exact = weight.to(torch.promote_types(weight.dtype, torch.float32))
    kernel = exact.new_zeros(*weight.shape[:2], 4, 4)
    for top, left in product((0, 1), repeat=2):
        kernel[:, :, top : top + 3, left : left + 3] += exact
    # w[2 - t], not w[t]: transposed convolutions turn their kernels, others do not
    return kernel.flip(2, 3).transpose(0, 1).to(weight.dtype).contiguous()
