import copy
import json
import pickle

import pytest
import torch
from torch import nn

from dcr.errors import UserError
from dcr.models.backbones import load_backbone
from models import (
    FAMILIES,
    IMAGE_SIZE,
    TEXTS,
    images,
    load_family,
    pixels,
    randomize,
    tiny_hf_clip,
    tiny_model_cfg,
    tiny_open_clip,
)


class TestInterface:
    @pytest.mark.parametrize(
        ("family", "embed_dim", "mean", "resize_mode", "logit_bias"),
        [
            ("open_clip", 24, (0.4, 0.5, 0.6), "shortest", 0.0),
            ("clip", 24, (0.48145466, 0.4578275, 0.40821073), "shortest", 0.0),
            ("siglip", 32, (0.5, 0.5, 0.5), "squash", -3.0),
        ],
    )
    def test_facts_are_read_from_the_folder(
        self, sources, family, embed_dim, mean, resize_mode, logit_bias
    ):
        backbone = load_family(sources, family)

        assert (backbone.image_size, backbone.interpolation) == (IMAGE_SIZE, "bicubic")
        assert backbone.mean == pytest.approx(mean)
        assert backbone.preprocessing.resize_mode == resize_mode
        assert backbone.embed_dim == embed_dim
        assert backbone.encode_image(pixels()).shape == (3, embed_dim)
        assert backbone.encode_text(TEXTS).shape == (len(TEXTS), embed_dim)
        assert backbone.logit_scale == pytest.approx(torch.tensor(2.5).exp().item())
        assert backbone.logit_bias == logit_bias

    def test_open_clip_embeddings_are_those_of_open_clip(self, sources):
        import open_clip

        source = f"local-dir:{sources['open_clip']}"
        model, _, preprocess = open_clip.create_model_and_transforms(source)
        model.eval()
        backbone = load_backbone(source)
        batch = torch.stack([backbone.preprocess(image) for image in images()])

        with torch.no_grad():
            expected = model.encode_image(torch.stack([preprocess(image) for image in images()]))
            expected_text = model.encode_text(open_clip.get_tokenizer(source)(TEXTS))

        torch.testing.assert_close(backbone.encode_image(batch), expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(backbone.encode_text(TEXTS), expected_text)

    @pytest.mark.parametrize("family", ["clip", "siglip"])
    def test_transformers_logits_are_those_of_transformers(self, sources, family):
        from transformers import AutoModel, AutoTokenizer

        folder = sources[family]
        backbone = load_backbone(folder)
        tokens = AutoTokenizer.from_pretrained(folder)(
            TEXTS,
            padding="max_length",
            truncation=True,
            max_length=backbone.tokenize(["a"]).shape[1],
            return_tensors="pt",
        ).input_ids
        with torch.no_grad():
            model = AutoModel.from_pretrained(folder).eval()
            normalized = backbone.preprocessing.normalize(pixels())
            expected = model(input_ids=tokens, pixel_values=normalized).logits_per_image
            image_features = nn.functional.normalize(backbone.encode_image(pixels()))
        text_features = nn.functional.normalize(backbone.encode_text(TEXTS))

        logits = backbone.logit_scale * image_features @ text_features.T + backbone.logit_bias

        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_preprocess_gives_the_librarys_own_pixels_before_normalisation(self, sources, family):
        backbone = load_family(sources, family)
        if family == "open_clip":
            import open_clip

            expected = open_clip.create_model_and_transforms(f"local-dir:{sources[family]}")[2]
        else:
            from transformers import AutoImageProcessor

            processor = AutoImageProcessor.from_pretrained(sources[family], backend="pil")

            def expected(image):
                return processor(image, return_tensors="pt").pixel_values[0]

        for image in images():
            result = backbone.preprocess(image)
            assert result.shape == (3, IMAGE_SIZE, IMAGE_SIZE)
            assert 0 <= result.min() <= result.max() <= 1
            torch.testing.assert_close(
                backbone.preprocessing.normalize(result[None])[0],
                expected(image),
                atol=1e-5,
                rtol=0,
            )

    @pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
    def test_any_image_mode_becomes_rgb(self, sources, mode):
        assert load_family(sources, "open_clip").preprocess(images(1)[0].convert(mode)).shape == (
            3,
            IMAGE_SIZE,
            IMAGE_SIZE,
        )

    @pytest.mark.parametrize("family", FAMILIES)
    def test_gradients_reach_pixels_and_tower_but_not_text(self, sources, family):
        backbone = load_family(sources, family)
        batch = pixels().requires_grad_()
        backbone.encode_image(batch).square().sum().backward()

        assert batch.grad.abs().sum() > 0
        assert all(
            p.grad is not None
            for name, p in backbone.visual.named_parameters()
            if "post" not in name
        )
        assert not backbone.encode_text(TEXTS).requires_grad

    def test_patch_tokens_of_both_families_are_the_same_hidden_states(self, sources):
        backbone = load_family(sources, "clip")
        hidden_states = backbone.model.vision_model(
            pixel_values=backbone.preprocessing.normalize(pixels()), output_hidden_states=True
        ).hidden_states

        torch.testing.assert_close(backbone.patch_tokens(pixels()), hidden_states[-2][:, 1:])
        assert load_family(sources, "open_clip").patch_tokens(pixels(), layer=-1).shape == (
            3,
            16,
            32,
        )
        assert load_family(sources, "siglip").patch_tokens(pixels()).shape == (3, 16, 32)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_tokens_come_in_one_pass_with_the_embedding(self, sources, family):
        backbone = load_family(sources, family)
        embedding, tokens = backbone.encode_tokens(pixels())
        torch.testing.assert_close(embedding, backbone.encode_image(pixels()))
        first = next(backbone.visual.parameters())
        assert torch.autograd.grad(tokens.sum(), first, allow_unused=True) != (None,)

    def test_quick_gelu_is_read_from_the_config(self, tmp_path):
        quick, exact = (
            load_backbone(
                f"local-dir:{tiny_open_clip(tmp_path / str(flag), tiny_model_cfg(quick_gelu=flag))}"
            )
            for flag in (True, False)
        )
        assert not torch.allclose(
            quick.encode_image(pixels()), exact.encode_image(pixels()), atol=1e-3
        )

    @pytest.mark.parametrize("family", ["open_clip", "clip", "siglip"])
    def test_a_tokenizer_is_read_once_for_a_backbone_and_its_copies(self, sources, family):
        """A copy of a vocabulary takes longer than the model's, and evaluation makes thirty."""
        backbone = load_family(sources, family)
        before = copy.deepcopy(backbone)
        assert before.tokenizer is backbone.tokenizer is copy.deepcopy(backbone).tokenizer
        assert torch.equal(before.tokenize(TEXTS), backbone.tokenize(TEXTS))

    def test_a_copy_of_a_backbone_is_independent(self, sources):
        backbone = load_family(sources, "open_clip")
        other = copy.deepcopy(backbone)
        randomize(other.model, seed=5)
        assert torch.equal(
            load_family(sources, "open_clip").encode_image(pixels()),
            backbone.encode_image(pixels()),
        )


class TestSources:
    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("local-dir:nowhere", "does not exist"),
            ("data/nowhere", "check the path"),
            ("ViT-B-32/no-such-tag", "its tags are"),
        ],
    )
    def test_a_missing_source_is_one_sentence(self, source, told):
        with pytest.raises(UserError, match=told):
            load_backbone(source)

    @pytest.mark.parametrize("prefix", ["", "local-dir:"])
    def test_a_folder_without_config_names_what_it_lacks(self, tmp_path, prefix):
        with pytest.raises(UserError, match=r"open_clip_config\.json"):
            load_backbone(f"{prefix}{tmp_path}")

    def test_a_config_without_weights_is_told(self, tmp_path):
        (tiny_open_clip(tmp_path / "m") / "open_clip_model.safetensors").unlink()
        with pytest.raises(UserError, match="no weights"):
            load_backbone(f"local-dir:{tmp_path / 'm'}")

    def test_weights_that_do_not_fit_are_told(self, tmp_path):
        folder = tiny_open_clip(tmp_path / "m")
        model_cfg = tiny_model_cfg(embed_dim=16)
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg}))
        with pytest.raises(
            UserError, match=r"visual.proj: \[32, 24\] in the file, \[32, 16\] there"
        ):
            load_backbone(f"local-dir:{folder}")

    def test_transformers_weights_that_are_missing_are_not_filled_with_random_ones(self, tmp_path):
        from safetensors.torch import load_file, save_file

        path = tiny_hf_clip(tmp_path / "m") / "model.safetensors"
        state = load_file(path)
        del state["visual_projection.weight"]
        save_file(state, path, metadata={"format": "pt"})
        with pytest.raises(UserError, match=r"1 weight is missing \(visual_projection.weight\)"):
            load_backbone(str(tmp_path / "m"))

    def test_a_bare_folder_with_both_configs_means_transformers(self, tmp_path):
        folder = tiny_hf_clip(tmp_path / "m")
        (folder / "open_clip_config.json").write_text("{}")
        assert type(load_backbone(str(folder))).__name__ == "ClipBackbone"
        (folder / "open_clip_config.json").unlink()
        with pytest.raises(UserError, match="leave out 'local-dir:'"):
            load_backbone(f"local-dir:{folder}")

    @pytest.mark.parametrize("family", ["open_clip", "clip"])
    def test_a_malicious_pickle_is_refused(self, tmp_path, family):
        class Malice:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        folder = FAMILIES[family](tmp_path / "m")
        next(folder.glob("*.safetensors")).unlink()
        torch.save({"weight": Malice()}, folder / "pytorch_model.bin", pickle_module=pickle)
        with pytest.raises(UserError, match="cannot be loaded"):
            load_backbone(("local-dir:" if family == "open_clip" else "") + str(folder))
        assert not (tmp_path / "ran").exists()

    def test_a_missing_image_processor_is_told_and_not_assumed(self, tmp_path):
        folder = tiny_hf_clip(tmp_path / "m")
        (folder / "preprocessor_config.json").unlink()
        with pytest.raises(UserError, match=r"preprocessor_config\.json"):
            load_backbone(str(folder))
