import open_clip
import pytest
import torch

from dcr.errors import UserError
from dcr.models.backbones import load_backbone, split_attention
from dcr.models.backbones.conversion.clip import to_clip_model, to_clip_text_model, to_open_clip
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from models import TEXTS, pixels, randomize, tiny_hf_clip, tiny_model_cfg

EOS = 49407


def with_parts(vision=(), text=(), **top_level):
    cfg = tiny_model_cfg(**top_level)
    cfg["vision_cfg"].update(vision)
    cfg["text_cfg"].update(text)
    return cfg


MODELS = {
    "quick_gelu": with_parts(),
    "gelu": with_parts(quick_gelu=False),
    "tanh gelu and epsilon": with_parts(
        quick_gelu=False,
        vision={"act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-3}},
        text={"act_kwargs": {"approximate": "tanh"}, "norm_kwargs": {"eps": 1e-2}},
    ),
    "custom text": with_parts(custom_text=True),
    "pooled before the last norm": with_parts(vision={"final_ln_after_pool": True}),
    "narrow perceptron": with_parts(vision={"mlp_ratio": 3.3}, text={"mlp_ratio": 2.7}),
    "linear text projection": with_parts(custom_text=True, nonscalar_logit_scale=True),
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def backbone(request):
    backbone = OpenClipBackbone.build(request.param)
    randomize(backbone.model)
    return backbone


class TestToClipModel:
    @torch.no_grad()
    def test_features_and_logits_are_equal(self, backbone):
        tokens = backbone.tokenize(TEXTS)
        images = backbone.preprocessing.normalize(pixels())
        logits, _ = backbone.model.get_logits(images, tokens)

        result = to_clip_model(backbone.model, EOS)(input_ids=tokens, pixel_values=images)

        normalize = torch.nn.functional.normalize
        torch.testing.assert_close(
            result.image_embeds, normalize(backbone.encode_image(pixels())), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            result.text_embeds, normalize(backbone.encode_text(TEXTS)), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(result.logits_per_image, logits, atol=1e-4, rtol=0)

    @torch.no_grad()
    def test_split_attention_makes_no_difference(self):
        backbone = OpenClipBackbone.build(tiny_model_cfg())
        expected = to_clip_model(backbone.model, EOS).state_dict()
        split_attention(backbone.visual)
        state = to_clip_model(backbone.model, EOS).state_dict()
        assert all(torch.equal(state[name], expected[name]) for name in expected)

    @torch.no_grad()
    def test_there_and_back_is_exact(self, backbone):
        model_cfg, state = to_open_clip(to_clip_model(backbone.model, EOS))
        model = OpenClipBackbone.build(model_cfg).model
        model.load_state_dict(state)
        images, tokens = backbone.preprocessing.normalize(pixels()), backbone.tokenize(TEXTS)
        assert torch.equal(model.encode_image(images), backbone.model.encode_image(images))
        assert torch.equal(model.encode_text(tokens), backbone.model.encode_text(tokens))

    def test_draws_no_random_numbers(self):
        backbone = OpenClipBackbone.build(tiny_model_cfg())
        torch.manual_seed(3)
        expected = torch.rand(1)
        torch.manual_seed(3)
        to_clip_text_model(backbone.model, EOS)
        assert torch.equal(torch.rand(1), expected)

    @pytest.mark.parametrize(
        ("model_cfg", "reason"),
        [
            (with_parts(init_logit_bias=-10.0), "logit bias"),
            (with_parts(vision={"pool_type": "avg"}), "class token"),
            (with_parts(vision={"no_ln_pre": True}), "layer norm before"),
            (with_parts(vision={"ls_init_value": 0.1}), "layer scale"),
            (with_parts(vision={"attentional_pool": True}), "class token"),
            (with_parts(custom_text=True, text={"no_causal_mask": True}), "not causal"),
            (with_parts(custom_text=True, text={"pool_type": "last"}), "pooled at the end token"),
            (with_parts(custom_text=True, text={"proj_bias": True}), "text projection"),
            (
                with_parts(vision={"layers": [1, 1, 1, 1], "width": 64, "head_width": 64}),
                "ModifiedResNet",
            ),
        ],
    )
    def test_what_clip_model_lacks_is_told(self, model_cfg, reason):
        with pytest.raises(UserError, match=reason):
            to_clip_model(OpenClipBackbone.build(model_cfg).model, EOS)


class TestToClipTextModel:
    @torch.no_grad()
    def test_last_hidden_state_equals_tokens_after_the_final_norm(self, backbone):
        tokens = backbone.tokenize(TEXTS)
        text = getattr(backbone.model, "text", backbone.model)
        captured = []
        hook = text.ln_final.register_forward_hook(
            lambda module, inputs, output: captured.append(output)
        )
        backbone.model.encode_text(tokens)
        hook.remove()

        result = to_clip_text_model(backbone.model, EOS)(tokens).last_hidden_state

        torch.testing.assert_close(result, captured[0], atol=1e-5, rtol=0)

    def test_its_folder_loads_again(self, backbone, tmp_path):
        from transformers import CLIPTextModel

        model = to_clip_text_model(backbone.model, EOS)
        model.save_pretrained(tmp_path)
        loaded, report = CLIPTextModel.from_pretrained(tmp_path, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert all(
            torch.equal(loaded.state_dict()[name], tensor)
            for name, tensor in model.state_dict().items()
        )


class TestToOpenClip:
    @torch.no_grad()
    @pytest.mark.parametrize("activation", ["quick_gelu", "gelu", "gelu_pytorch_tanh"])
    def test_features_are_equal(self, tmp_path, activation):
        backbone = load_backbone(str(tiny_hf_clip(tmp_path / "m", hidden_act=activation)))
        if activation != "quick_gelu":
            with pytest.raises(UserError, match="activations"):  # the text tower keeps quick_gelu
                to_open_clip(backbone.model)
            return
        model_cfg, state = to_open_clip(backbone.model)
        model = open_clip.CLIP(**model_cfg)
        model.load_state_dict(state)
        model.eval()
        images, tokens = backbone.preprocessing.normalize(pixels()), backbone.tokenize(TEXTS)
        torch.testing.assert_close(
            model.encode_image(images), backbone.encode_image(pixels()), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            model.encode_text(tokens), backbone.encode_text(TEXTS), atol=1e-5, rtol=0
        )
