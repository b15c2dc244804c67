import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from dcr.models.backbones import fuse_attention, lora_targets, split_attention
from dcr.models.backbones.attention import SplitAttention, fused_state_dict
from models import load_family, pixels, randomize


class TestAttention:
    @pytest.fixture
    def visual(self, sources):
        return load_family(sources, "open_clip").visual

    @pytest.mark.parametrize("batch_first", [True, False])
    def test_split_attention_equals_pytorchs(self, batch_first):
        fused = nn.MultiheadAttention(24, 3, batch_first=batch_first)
        randomize(fused)
        query, memory = torch.randn(4, 7, 24), torch.randn(4, 7, 24)
        mask = torch.full((7, 7), float("-inf")).triu(1)
        for attn_mask in (None, mask) if batch_first else (None,):
            expected = fused(query, memory, memory, need_weights=False, attn_mask=attn_mask)[0]
            result = SplitAttention(fused)(
                query, memory, memory, need_weights=False, attn_mask=attn_mask
            )[0]
            torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-6)

    def test_split_leaves_the_embedding_and_its_gradient(self, visual):
        batch = pixels().requires_grad_()
        expected = visual(batch)
        (expected_gradient,) = torch.autograd.grad(expected.sum(), batch)
        split_attention(visual)
        result = visual(batch)

        assert not any(isinstance(module, nn.MultiheadAttention) for module in visual.modules())
        torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(
            torch.autograd.grad(result.sum(), batch)[0], expected_gradient, atol=1e-5, rtol=1e-5
        )

    def test_fuse_gives_the_same_state_bit_for_bit(self, visual):
        before = {name: tensor.clone() for name, tensor in visual.state_dict().items()}
        expected = visual(pixels())
        split_attention(visual)
        seen_through = fused_state_dict(visual)
        fuse_attention(visual)

        for state in (visual.state_dict(), seen_through):
            assert state.keys() == before.keys()
            assert all(torch.equal(state[name], before[name]) for name in before)
        assert torch.equal(visual(pixels()), expected)

    def test_splitting_draws_no_random_numbers(self, visual):
        torch.manual_seed(3)
        expected = torch.rand(1)
        torch.manual_seed(3)
        split_attention(visual)
        fuse_attention(visual)
        assert torch.equal(torch.rand(1), expected)

    def test_an_adapter_must_be_merged_before_fusing(self, visual):
        split_attention(visual)
        inject_adapter_in_model(LoraConfig(target_modules=lora_targets(visual)), visual)
        with pytest.raises(ValueError, match="merge"):
            fuse_attention(visual)
