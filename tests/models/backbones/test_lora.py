import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from dcr.errors import UserError
from dcr.models.backbones import fuse_attention, lora_targets, merge_lora, split_attention
from models import FAMILIES, load_family, pixels, randomize_adapter


class TestLoraTargets:
    def test_open_clip(self, sources):
        visual = load_family(sources, "open_clip").visual
        with pytest.raises(ValueError, match="split_attention"):
            lora_targets(visual)
        split_attention(visual)
        layers = [f"attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")] + [
            "mlp.c_fc",
            "mlp.c_proj",
        ]
        assert lora_targets(visual) == [
            f"transformer.resblocks.{i}.{layer}" for i in range(2) for layer in layers
        ]

    @pytest.mark.parametrize("family", ["clip", "siglip"])
    def test_transformers_without_pooling_head_and_projection(self, sources, family):
        visual = load_family(sources, family).visual
        split_attention(visual)
        layers = [f"self_attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "out_proj")] + [
            "mlp.fc1",
            "mlp.fc2",
        ]
        expected = {
            f"vision_model.encoder.layers.{i}.{layer}" for i in range(2) for layer in layers
        }
        assert set(lora_targets(visual)) == expected

    def test_timm_without_pooling_head(self, timm_backbone):
        targets = lora_targets(timm_backbone.visual)
        layers = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]
        depth = len(timm_backbone.visual.trunk.blocks)
        assert targets == [f"trunk.blocks.{i}.{layer}" for i in range(depth) for layer in layers]
        assert timm_backbone.encode_image(torch.rand(2, 3, 160, 160)).shape == (2, 64)

    def test_a_tower_without_transformer_blocks_is_told(self):
        with pytest.raises(UserError, match="choose a ViT"):
            lora_targets(nn.Conv2d(3, 3, 1))

    @pytest.mark.parametrize("family", FAMILIES)
    def test_every_target_acts_and_merging_keeps_the_features(self, sources, family):
        backbone = load_family(sources, family)
        untouched = backbone.encode_image(pixels()).detach()
        split_attention(backbone.visual)
        targets = lora_targets(backbone.visual)
        backbone.visual.requires_grad_(False)
        config = LoraConfig(r=2, lora_dropout=0.1, bias="lora_only", target_modules=targets)
        inject_adapter_in_model(config, backbone.visual)
        torch.testing.assert_close(backbone.encode_image(pixels()), untouched, atol=1e-6, rtol=1e-6)
        trainable = [name for name, p in backbone.visual.named_parameters() if p.requires_grad]
        assert {name.split(".lora_")[0] for name in trainable if ".lora_" in name} == set(targets)

        randomize_adapter(backbone.visual.eval())
        adapted = backbone.encode_image(pixels())
        adapted.square().sum().backward()
        factors = {n: p for n, p in backbone.visual.named_parameters() if ".lora_" in n}
        # a layer that ignores its adapter, as nn.MultiheadAttention does, would leave its gradient
        # empty
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in factors.values())
        assert not torch.allclose(adapted, untouched, atol=1e-3)

        merge_lora(backbone.visual)
        fuse_attention(backbone.visual)
        torch.testing.assert_close(backbone.encode_image(pixels()), adapted, atol=1e-5, rtol=1e-5)
        untrained = load_family(sources, family).visual
        assert untrained.state_dict().keys() == backbone.visual.state_dict().keys()
