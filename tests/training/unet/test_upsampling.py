"""Upsampling and its convolution as one: diffusers' layer is what it must equal."""

from collections import OrderedDict

import pytest
import torch
from diffusers.models.upsampling import Upsample2D
from torch import nn

from dcr.training.counting import Operations
from dcr.training.unet.predictor import Predictor
from dcr.training.unet.upsampling import FoldedUpsampling, fold_upsampling, folds
from diffusion_models import CROSS_ATTENTION_DIM, tiny_diffusion, tiny_unet
from models import randomize

CHANNELS, OUT = 6, 5


def upsampling(**changes):
    torch.manual_seed(0)
    made = Upsample2D(CHANNELS, **{"use_conv": True, "out_channels": OUT} | changes)
    return made.double().requires_grad_(False).eval()


def folded(layer):
    """Return the layer as it is in a model that was folded."""
    model = nn.Sequential(layer)
    fold_upsampling(model)
    return model[0]


def maps(*size, number=3):
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(number, CHANNELS, *size, generator=generator, dtype=torch.float64)
    return drawn.requires_grad_()


def passes(layer, inputs, *args):
    """Return output and gradient of one pass, and the operations that both took."""
    with Operations() as operations:
        output = layer(inputs, *args)
        generator = torch.Generator().manual_seed(2)
        upstream = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(output, inputs, upstream)
    return output, gradient, operations.total


def assert_same(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(4, 4), (7, 7), (5, 8), (16, 4)], ids=str)
@pytest.mark.parametrize("asked", [False, True], ids=["twice", "twice as asked"])
def test_output_and_gradient_are_the_layers(size, bias, asked):
    layer = upsampling(bias=bias)
    args = [torch.Size(2 * side for side in size)] if asked else []
    found, expected = (passes(made, maps(*size), *args) for made in (folded(layer), layer))
    assert_same(found[:2], expected[:2])


def test_a_pixel_reaches_the_sixteen_that_it_stands_beside():
    """By loops: repeated in a square, each place of which nine weights reach."""
    layer = upsampling(bias=False)
    weight = layer.conv.weight
    alone = torch.zeros(1, CHANNELS, 4, 4, dtype=torch.float64)
    alone[0, 2, 1, 2] = 1.0
    expected = torch.zeros(1, OUT, 8, 8, dtype=torch.float64)
    for row in (2, 3):
        for column in (4, 5):
            for y in range(3):
                for x in range(3):
                    expected[0, :, row + 1 - y, column + 1 - x] += weight[:, 2, y, x]
    output = folded(layer)(alone)
    assert torch.allclose(output, expected, rtol=0, atol=1e-12)
    assert output.count_nonzero() == 16 * OUT


def test_sixteen_multiplications_take_the_place_of_thirty_six_in_both_passes():
    layer = upsampling()
    a_pixel = 2 * 2 * 3 * CHANNELS * OUT * 5 * 7  # two passes, two operations, three maps
    assert passes(layer, maps(5, 7))[2] == 36 * a_pixel
    assert passes(folded(layer), maps(5, 7))[2] == 16 * a_pixel


@pytest.mark.parametrize(
    ("size", "target"),
    [((4, 4), (7, 7)), ((4, 6), (8, 11)), ((4, 4), (16, 16)), ((2, 2), (4, 4)), ((3, 8), (6, 16))],
    ids=str,
)
def test_other_sizes_and_the_smallest_maps_take_the_layers_own_way(size, target):
    layer = upsampling()
    found, expected = (passes(made, maps(*size), target) for made in (folded(layer), layer))
    assert found[2] == expected[2]
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


class OwnConvolution(nn.Conv2d):
    """Computes in its own way, for all that is known."""


def with_convolution(kind=nn.Conv2d, **changes):
    layer = upsampling()
    numbers = {"kernel_size": 3, "padding": 1} | changes
    layer.conv = kind(CHANNELS, OUT if "groups" not in numbers else CHANNELS, **numbers)
    return layer


@pytest.mark.parametrize(
    "layer",
    [
        lambda: upsampling(use_conv=False),
        lambda: upsampling(use_conv_transpose=True),
        lambda: upsampling(interpolate=False),
        lambda: upsampling(norm_type="rms_norm", eps=1e-5, elementwise_affine=True),
        lambda: upsampling(kernel_size=5, padding=2),
        lambda: upsampling(padding=0),
        lambda: upsampling(name="Conv2d_0"),
        lambda: with_convolution(OwnConvolution),
        lambda: with_convolution(stride=2),
        lambda: with_convolution(dilation=2),
        lambda: with_convolution(groups=2),
        lambda: with_convolution(padding_mode="circular"),
    ],
    ids=[
        "no convolution",
        "transposed already",
        "nothing is repeated",
        "a norm between",
        "wider kernel",
        "no padding",
        "convolution of another name",
        "convolution of another kind",
        "stride",
        "dilation",
        "groups",
        "circular padding",
    ],
)
def test_what_is_no_plain_upsampling_stays_as_it_is(layer, caplog):
    caplog.set_level("INFO", "dcr")
    layer = layer()
    assert not folds(layer)
    assert folded(layer) is layer
    assert "takes the general path" in caplog.text


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_kernel_is_rounded_once(dtype):
    """From float32 weights, and from those that were rounded before, summed in float32."""
    layer = upsampling()
    exact = folded(layer).kernel
    late = upsampling().to(dtype)
    rounded = folded(upsampling().float()).to(dtype).kernel
    assert rounded.dtype == folded(late).kernel.dtype == dtype
    digits = torch.finfo(dtype).eps
    assert (rounded.double() - exact).abs().max() <= digits / 2 * exact.abs().max()
    of_rounded = folded(upsampling().to(dtype).double()).kernel
    assert (folded(late).kernel.double() - of_rounded).abs().max() <= digits / 2 * (
        of_rounded.abs().max()
    )


class TestInAUnet:
    @pytest.fixture
    def model(self):
        model = tiny_unet(
            block_out_channels=[8, 16, 16],
            down_block_types=["CrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"],
            up_block_types=["UpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"],
        )
        randomize(model)
        return model.double().requires_grad_(False).eval()

    def predict(self, model, side):
        generator = torch.Generator().manual_seed(3)
        noisy = torch.randn(2, 4, side, side, generator=generator, dtype=torch.float64)
        prompt = torch.randn(2, 7, CROSS_ATTENTION_DIM, generator=generator, dtype=torch.float64)
        prompt.requires_grad_()
        with Operations() as operations:
            output = model(noisy, torch.tensor([10, 700]), prompt).sample
            (gradient,) = torch.autograd.grad(output.square().sum(), prompt)
        return output.detach(), gradient, operations.total

    @pytest.mark.parametrize(
        ("side", "operations_of_folded"),
        [(16, "both"), (14, "second"), (13, "none"), (8, "second")],
        ids=str,
    )
    def test_predictions_and_gradients_are_those_of_the_unet(
        self, model, side, operations_of_folded
    ):
        """14 is halved to 7 and 4, so that the first upsampling goes from 4 to 7."""
        expected = self.predict(model, side)
        fold_upsampling(model)
        found = self.predict(model, side)
        assert_same(found[:2], expected[:2])
        second = side // 2
        first = second // 2
        pixels = {"both": first**2 + second**2, "second": second**2, "none": 0}
        saved = (36 - 16) * 2 * 2 * 2 * 16 * 16 * pixels[operations_of_folded]
        assert expected[2] - found[2] == saved

    def test_names_and_weights_stay_and_a_saved_model_is_the_same(self, model, tmp_path):
        before = OrderedDict((name, t.clone()) for name, t in model.state_dict().items())
        expected = self.predict(model, 16)
        fold_upsampling(model)
        assert [*model.state_dict()] == [*before]
        assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())
        model.save_pretrained(tmp_path)
        again = type(model).from_pretrained(tmp_path, torch_dtype=torch.float64).eval()
        assert_same(self.predict(again, 16)[:2], expected[:2])

    def test_folding_again_changes_nothing(self, model):
        fold_upsampling(model)
        layers = [layer for layer in model.modules() if isinstance(layer, FoldedUpsampling)]
        assert len(layers) == 2
        fold_upsampling(model)
        assert [layer for layer in model.modules() if isinstance(layer, FoldedUpsampling)] == layers

    def test_kernels_are_cast_and_laid_out_with_the_weights(self, model):
        fold_upsampling(model)
        model.to(torch.bfloat16).to(memory_format=torch.channels_last)
        for layer in model.modules():
            if isinstance(layer, FoldedUpsampling):
                assert layer.kernel.dtype == torch.bfloat16
                assert layer.kernel.is_contiguous(memory_format=torch.channels_last)
                assert not layer.kernel.requires_grad


BLOCKS = {
    "upsampling after the condition": {},
    "upsampling before the condition": {
        "mid_block_type": None,
        "down_block_types": ["DownBlock2D", "DownBlock2D"],
    },
}


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize("savings", [(False, False), (True, False), (False, True), (True, True)])
def test_it_goes_with_the_other_exact_savings(tmp_path, blocks, savings):
    diffusion = tiny_diffusion(tmp_path)
    model = tiny_unet(**BLOCKS[blocks])
    randomize(model)
    diffusion.unet = model.double().requires_grad_(False).eval()
    diffusion.text_encoder.double()
    generator = torch.Generator().manual_seed(4)
    noisy = torch.randn(3, 4, 8, 8, generator=generator, dtype=torch.float64)
    projections = torch.randn(3, 5, CROSS_ATTENTION_DIM, generator=generator, dtype=torch.float64)
    projections.requires_grad_()
    timesteps = torch.tensor([3, 500, 999])

    def predict(*asked):
        predictions = Predictor(diffusion, *asked)(noisy, timesteps, projections)
        return predictions, *torch.autograd.grad(predictions.square().sum(), projections)

    expected = predict()
    fold_upsampling(diffusion.unet)
    assert_same(predict(*savings), expected)
