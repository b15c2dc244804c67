"""Exact savings on the UNet: on and off give equal losses and gradients, and the UNet is left
as it was.
"""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from dcr.training.batches import Batch
from dcr.training.unet.constant_prompt import allows_constant_prompt, cross_attention
from dcr.training.unet.predictor import Predictor
from diffusion_models import CROSS_ATTENTION_DIM, tiny_diffusion, tiny_unet
from models import randomize
from tiny_conditions import step_of, weights

SAVINGS = [(True, False), (False, True), (True, True)]
BLOCKS = {
    "attention first": {},
    "attention later": {
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    },
    "linear projections": {"use_linear_projection": True, "transformer_layers_per_block": 2},
    "only cross-attention": {"only_cross_attention": True},
    "keys and values folded": {"attention_head_dim": 1},
    "folded in narrow blocks": {"attention_head_dim": (4, 1), "transformer_layers_per_block": 2},
}


def diffusion_with(tmp_path, model):
    diffusion = tiny_diffusion(tmp_path)
    randomize(model)
    diffusion.unet = model.double().requires_grad_(False).eval()
    diffusion.text_encoder.double()
    return diffusion


def batch(size=4):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(size, *shape, generator=generator, dtype=torch.float64)

    timesteps = torch.randint(1000, (size,), generator=generator)
    return Batch([""] * size, draw(3, 2, 2), draw(3, 2, 2), draw(4, 8, 8), draw(4, 8, 8), timesteps)


def loss_and_gradient(predict, method="dcr"):
    """One step from pixels through a linear layer in place of tower and projector."""
    torch.manual_seed(3)
    layer = torch.nn.Linear(12, CROSS_ATTENTION_DIM).double()

    def encode(pixels):
        projections = layer(pixels.flatten(1))
        return projections, projections

    loss = step_of(method, encode, predict, batch(), weights(), rows_per_chunk=3)["loss"]
    return loss, layer.weight.grad


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize(("constant_prompt", "shared_prefix"), SAVINGS)
def test_savings_change_neither_loss_nor_gradient(tmp_path, blocks, constant_prompt, shared_prefix):
    diffusion = diffusion_with(tmp_path, tiny_unet(**BLOCKS[blocks]))
    assert allows_constant_prompt(diffusion.unet)
    for method in ("dcr", "reconstruction"):
        expected, expected_gradient = loss_and_gradient(Predictor(diffusion), method)
        loss, gradient = loss_and_gradient(
            Predictor(diffusion, constant_prompt, shared_prefix), method
        )
        assert loss == pytest.approx(expected, abs=1e-10)
        assert torch.allclose(gradient, expected_gradient, rtol=0, atol=1e-10)


# Products of a query per width: with A and B, or with W_q and W_o.
FOLDED, AS_THEY_ARE = (12 + 12, 8 + 8)


@pytest.mark.parametrize(
    ("heads", "dtype", "products"),
    [(1, torch.float32, FOLDED), (4, torch.float32, AS_THEY_ARE), (1, torch.bfloat16, AS_THEY_ARE)],
)
def test_keys_and_values_are_folded_where_that_saves_operations_and_rounds_no_scores(
    tmp_path, heads, dtype, products
):
    """4 images of 64 queries, 8 wide, and 12 tokens, whose scores and sums take 12 + 12 more
    where not folded.
    """
    diffusion = diffusion_with(tmp_path, tiny_unet(attention_head_dim=heads))
    diffusion.unet = diffusion.unet.to(dtype)
    layer = cross_attention(diffusion.unet)[0]
    name = next(name for name, module in diffusion.unet.named_modules() if module is layer)
    data, projections = batch(), torch.zeros(4, 1, CROSS_ATTENTION_DIM, dtype=dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        Predictor(diffusion, constant_prompt=True)(data.noisy_latents, data.timesteps, projections)
    biases = 4 * CROSS_ATTENTION_DIM * 8 + (4 * 8 * 8 if products == FOLDED else 0)
    counted = sum(counter.get_flop_counts()[f"UNet2DConditionModel.{name}"].values())
    assert counted == 2 * (4 * 64 * 8 * products + biases)


def test_savings_hold_where_no_gradient_is_wanted(tmp_path):
    diffusion = diffusion_with(tmp_path, tiny_unet())
    data, projections = batch(), torch.randn(4, 3, CROSS_ATTENTION_DIM, dtype=torch.float64)
    with torch.no_grad():
        expected = Predictor(diffusion)(data.noisy_latents, data.timesteps, projections)
        found = Predictor(diffusion, True, True)(data.noisy_latents, data.timesteps, projections)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)


def test_the_prefix_is_computed_once_a_row(tmp_path):
    diffusion = diffusion_with(tmp_path, tiny_unet())
    sizes = {"conv_in": [], "first": [], "conv_out": []}
    first = diffusion.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1.to_q
    for name, module in (
        ("conv_in", diffusion.unet.conv_in),
        ("first", first),
        ("conv_out", diffusion.unet.conv_out),
    ):
        module.register_forward_pre_hook(
            lambda _, args, name=name: sizes[name].append(len(args[0]))
        )
    predict, data = Predictor(diffusion, True, True), batch()
    projections = torch.zeros(4, 5, CROSS_ATTENTION_DIM, dtype=torch.float64)
    for _ in range(2):
        predict(data.noisy_latents, data.timesteps, projections)
    assert sizes["first"][1:] == [4, 4]  # after the look at what depends on the condition
    assert sizes["conv_out"][1:] == [20, 20]


def test_the_unet_is_left_as_it_was(tmp_path):
    diffusion = diffusion_with(tmp_path, tiny_unet())
    before = {name: type(processor) for name, processor in diffusion.unet.attn_processors.items()}
    data, prompt = batch(), torch.randn(4, 12, CROSS_ATTENTION_DIM, dtype=torch.float64)
    expected = diffusion.predict(data.noisy_latents, data.timesteps, prompt)
    loss_and_gradient(Predictor(diffusion, True, True))
    assert {
        name: type(processor) for name, processor in diffusion.unet.attn_processors.items()
    } == before
    assert not any("forward" in vars(module) for module in diffusion.unet.modules())
    assert not any(module._forward_hooks for module in diffusion.unet.modules())
    assert torch.equal(diffusion.predict(data.noisy_latents, data.timesteps, prompt), expected)


def with_norm_on_keys(model):
    for module in model.modules():
        if getattr(module, "is_cross_attention", False):
            module.norm_k = torch.nn.LayerNorm(module.inner_dim // module.heads)
    return model


def with_rescaled_output(model):
    for module in model.modules():
        if getattr(module, "is_cross_attention", False):
            module.rescale_output_factor = 2.0
    return model


@pytest.mark.parametrize(
    "model",
    [
        lambda: with_norm_on_keys(tiny_unet()),
        lambda: with_rescaled_output(tiny_unet()),
        lambda: tiny_unet(addition_embed_type="text", addition_embed_type_num_heads=4),
        lambda: tiny_unet(encoder_hid_dim_type="text_proj", encoder_hid_dim=CROSS_ATTENTION_DIM),
    ],
    ids=[
        "norm on keys",
        "output rescaled",
        "condition in the time embedding",
        "condition through a layer of its own",
    ],
)
def test_a_unet_without_the_identity_takes_the_general_path(tmp_path, model, caplog):
    caplog.set_level("INFO", "dcr")
    diffusion = diffusion_with(tmp_path, model())
    assert not allows_constant_prompt(diffusion.unet)
    expected, expected_gradient = loss_and_gradient(Predictor(diffusion))
    loss, gradient = loss_and_gradient(Predictor(diffusion, True, True))
    assert "takes the general path" in caplog.text
    assert loss == pytest.approx(expected, abs=1e-10)
    assert torch.allclose(gradient, expected_gradient, rtol=0, atol=1e-10)


def test_further_tokens_stand_beside_the_empty_prompt(tmp_path):
    """Whatever savings are on: their keys differ from image to image, so the prompt's are not
    computed apart.
    """
    diffusion = diffusion_with(tmp_path, tiny_unet())
    data, tokens = batch(), torch.randn(4, 3, 2, CROSS_ATTENTION_DIM, dtype=torch.float64)
    prompt = diffusion.encode_prompts([""]).expand(4, -1, -1)
    expected = torch.stack(
        [
            diffusion.predict(
                data.noisy_latents, data.timesteps, torch.cat([prompt, tokens[:, column]], dim=1)
            )
            for column in range(3)
        ],
        dim=1,
    )
    for savings in [(False, False), *SAVINGS]:
        found = Predictor(diffusion, *savings)(data.noisy_latents, data.timesteps, tokens)
        assert torch.allclose(found, expected, rtol=0, atol=1e-10)


def test_one_predictor_takes_both_kinds_of_condition_in_turn(tmp_path):
    diffusion = diffusion_with(tmp_path, tiny_unet())
    data, tokens = batch(), torch.randn(4, 3, 2, CROSS_ATTENTION_DIM, dtype=torch.float64)
    predict, plain = Predictor(diffusion, True, True), Predictor(diffusion)
    for projections in (tokens, tokens[:, :, 0], tokens, tokens[:, :, 1]):
        found, expected = (
            p(data.noisy_latents, data.timesteps, projections) for p in (predict, plain)
        )
        assert torch.allclose(found, expected, rtol=0, atol=1e-10)
