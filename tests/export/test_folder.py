import json

import open_clip
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, inject_adapter_in_model
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel, CLIPVisionModel

from dcr.errors import UserError
from dcr.export.folder import write_encoder, write_open_clip
from dcr.files import sha256_folder
from dcr.models.backbones import load_backbone, lora_targets, merge_lora, split_attention
from dcr.models.backbones.conversion.clip import to_clip_model
from dcr.models.backbones.families.open_clip import OpenClipBackbone
from dcr.models.backbones.families.open_clip_timm import TimmBackbone
from dcr.models.encoder import load_encoder
from models import (
    IMAGE_SIZE,
    TEXTS,
    images,
    pixels,
    randomize_adapter,
    tiny_hf_clip,
    tiny_model_cfg,
    tiny_open_clip,
    tiny_siglip,
)

CARD = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "apache-2.0"}


def train(backbone):
    """Put a LoRA adapter on the image tower, change it as training would, merge it; return what
    export takes.
    """
    split_attention(backbone.visual)
    config = LoraConfig(
        r=4, lora_alpha=4, bias="lora_only", target_modules=lora_targets(backbone.visual)
    )
    backbone.visual.requires_grad_(False)
    inject_adapter_in_model(config, backbone.visual)
    randomize_adapter(backbone.visual.eval())
    weights = {
        name: tensor.clone() for name, tensor in get_peft_model_state_dict(backbone.visual).items()
    }
    merge_lora(backbone.visual)
    return {"config": config, "weights": weights}


@pytest.fixture(scope="module", params=["open_clip", "clip", "exact gelu, bilinear, custom text"])
def exported(request, tmp_path_factory):
    """A trained backbone, its source, its adapter and the folder it was written to."""
    root = tmp_path_factory.mktemp("export")
    if request.param == "clip":
        source = str(tiny_hf_clip(root / "base"))
    elif request.param == "open_clip":
        source = f"local-dir:{tiny_open_clip(root / 'base')}"
    else:
        model_cfg = tiny_model_cfg(quick_gelu=False, custom_text=True)
        source = (
            f"local-dir:{tiny_open_clip(root / 'base', model_cfg, {'interpolation': 'bilinear'})}"
        )
    backbone = load_backbone(source)
    adapter = train(backbone)
    write_encoder(root / "encoder", backbone, adapter, CARD)
    return backbone, source, adapter, root / "encoder"


class TestConsumers:
    @torch.no_grad()
    def test_dcr(self, exported):
        backbone, source, _, folder = exported
        batch = torch.stack([backbone.preprocess(image) for image in images()])
        features = load_encoder(folder).encode_image(images())

        assert features.dtype == torch.float32
        torch.testing.assert_close(features, backbone.encode_image(batch), atol=1e-5, rtol=0)
        assert not torch.allclose(features, load_backbone(source).encode_image(batch), atol=1e-2)

    @torch.no_grad()
    def test_open_clip(self, exported):
        backbone, _, _, folder = exported
        model, _, preprocess = open_clip.create_model_and_transforms(
            f"local-dir:{folder}", require_pretrained=True
        )
        model.eval()
        batch = torch.stack([preprocess(image) for image in images()])
        tokens = open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS)

        features = model.encode_image(batch)
        torch.testing.assert_close(
            features, load_encoder(folder).encode_image(images()), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            model.encode_text(tokens), backbone.encode_text(TEXTS), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            model.get_logits(batch, tokens)[0], logits(backbone), atol=1e-4, rtol=0
        )

    @torch.no_grad()
    def test_transformers(self, exported):
        backbone, _, _, folder = exported
        model, report = CLIPModel.from_pretrained(folder, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        batch = AutoImageProcessor.from_pretrained(folder, backend="pil")(
            images(), return_tensors="pt"
        ).pixel_values
        tokens = AutoTokenizer.from_pretrained(folder)(
            TEXTS, padding=True, truncation=True, return_tensors="pt"
        )

        outputs = model.eval()(pixel_values=batch, **tokens)
        features = model.visual_projection(model.vision_model(batch).pooler_output)
        torch.testing.assert_close(
            features, load_encoder(folder).encode_image(images()), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(outputs.logits_per_image, logits(backbone), atol=1e-4, rtol=0)

    @torch.no_grad()
    def test_llava_reads_patch_tokens_of_the_last_layer_but_one(self, exported):
        backbone, _, _, folder = exported
        tower = CLIPVisionModel.from_pretrained(folder).eval()
        normalized = backbone.preprocessing.normalize(pixels())
        hidden_states = tower(normalized, output_hidden_states=True).hidden_states
        torch.testing.assert_close(
            hidden_states[-2][:, 1:], backbone.patch_tokens(pixels()), atol=1e-4, rtol=0
        )

    @torch.no_grad()
    def test_peft_puts_the_adapter_on_the_base_model(self, exported):
        backbone, source, _, folder = exported
        base = load_backbone(source)
        model = (
            base.model if isinstance(base.model, CLIPModel) else to_clip_model(base.model, 49407)
        )
        text_before = {n: p.clone() for n, p in model.text_model.state_dict().items()}
        adapted = PeftModel.from_pretrained(model, folder / "adapter").merge_and_unload()

        features = adapted.visual_projection(
            adapted.vision_model(base.preprocessing.normalize(pixels())).pooler_output
        )
        torch.testing.assert_close(features, backbone.encode_image(pixels()), atol=1e-4, rtol=0)
        assert all(
            torch.equal(p, text_before[n]) for n, p in adapted.text_model.state_dict().items()
        )

    @pytest.mark.parametrize("size", [(50, 42), (42, 50), (32, 32), (64, 128), (20, 24)])
    def test_all_three_make_the_same_pixels(self, exported, size):
        backbone, _, _, folder = exported
        preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")[2]
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        for image in images(2, size):
            expected = backbone.preprocessing.normalize(
                load_encoder(folder).backbone.preprocess(image)[None]
            )[0]
            torch.testing.assert_close(preprocess(image), expected, atol=1e-5, rtol=0)
            transformed = processor(image, return_tensors="pt").pixel_values[0]
            torch.testing.assert_close(transformed, expected, atol=1e-5, rtol=0)


class TestFolder:
    def test_holds_the_files_that_consumers_look_for(self, exported):
        *_, folder = exported
        names = {
            path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
        }
        assert names >= {
            "config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json",
            "open_clip_config.json", "open_clip_model.safetensors", "README.md",
            "adapter/adapter_config.json", "adapter/adapter_model.safetensors",
        }  # fmt: skip

    def test_the_same_input_gives_the_same_bytes(self, exported, tmp_path):
        backbone, _, adapter, folder = exported
        write_encoder(tmp_path / "elsewhere" / "again", backbone, adapter, CARD)
        assert sha256_folder(tmp_path / "elsewhere" / "again") == sha256_folder(folder)

    def test_image_processor_config_suits_old_and_new_transformers(self, exported):
        *_, folder = exported
        config = json.loads((folder / "preprocessor_config.json").read_text())
        assert config["size"] == {"shortest_edge": IMAGE_SIZE}
        assert config["crop_size"] == {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
        assert config["image_processor_type"] == "CLIPImageProcessor"

    def test_a_failed_write_leaves_the_old_folder(self, exported, tmp_path):
        backbone, *_ = exported
        write_encoder(tmp_path / "encoder", backbone, None, CARD)
        before = sha256_folder(tmp_path / "encoder")
        with pytest.raises(ValueError, match="licence"):
            write_encoder(
                tmp_path / "encoder",
                backbone,
                None,
                {"base_model": "x", "recipe": "y", "method": "z"},
            )
        assert sha256_folder(tmp_path / "encoder") == before
        assert [path.name for path in tmp_path.iterdir()] == ["encoder"]

    def test_an_unmerged_adapter_is_refused(self, tmp_path):
        backbone = OpenClipBackbone.build(tiny_model_cfg())
        split_attention(backbone.visual)
        inject_adapter_in_model(
            LoraConfig(target_modules=lora_targets(backbone.visual)), backbone.visual
        )
        with pytest.raises(ValueError, match="merge"):
            write_encoder(tmp_path / "encoder", backbone, None, CARD)

    def test_writing_leaves_the_backbone_as_it_was(self, exported, tmp_path):
        backbone, *_ = exported
        before = list(backbone.model.state_dict())
        write_encoder(tmp_path / "encoder", backbone, None, CARD)
        assert list(backbone.model.state_dict()) == before


class TestOtherFamilies:
    def test_siglip_is_written_for_transformers_and_the_card_says_what_is_missing(self, tmp_path):
        backbone = load_backbone(str(tiny_siglip(tmp_path / "base", hidden_act="relu")))
        adapter = train(backbone)
        write_encoder(tmp_path / "encoder", backbone, adapter, CARD)

        loaded = load_backbone(str(tmp_path / "encoder"))
        torch.testing.assert_close(loaded.encode_image(pixels()), backbone.encode_image(pixels()))
        torch.testing.assert_close(loaded.encode_text(TEXTS), backbone.encode_text(TEXTS))
        assert loaded.preprocessing == backbone.preprocessing
        text = (tmp_path / "encoder" / "README.md").read_text()
        assert "no open_clip files" in text
        assert "library_name: transformers" in text
        assert not (tmp_path / "encoder" / "open_clip_config.json").exists()

    def test_a_timm_tower_is_written_for_open_clip(self, tmp_path):
        vision_cfg = {
            "timm_model_name": "test_vit",
            "timm_pool": "map",
            "timm_proj": "none",
            "image_size": 160,
        }
        model_cfg = tiny_model_cfg(
            embed_dim=64, custom_text=True, init_logit_bias=-10.0, vision_cfg=vision_cfg
        )
        backbone = TimmBackbone.build(model_cfg, {"resize_mode": "squash"})
        adapter = train(backbone)
        write_encoder(tmp_path / "encoder", backbone, adapter, CARD)

        loaded = load_encoder(tmp_path / "encoder").backbone
        batch = torch.rand(2, 3, 160, 160)
        torch.testing.assert_close(loaded.encode_image(batch), backbone.encode_image(batch))
        assert loaded.preprocessing.resize_mode == "squash"
        assert "no transformers files" in (tmp_path / "encoder" / "README.md").read_text()
        assert any(
            "trunk.blocks" in n
            for n in load_file(tmp_path / "encoder/adapter/adapter_model.safetensors")
        )

    def test_a_format_that_was_asked_for_must_be_possible(self, tmp_path):
        backbone = load_backbone(str(tiny_siglip(tmp_path / "base", hidden_act="relu")))
        with pytest.raises(UserError, match="cannot be written as an open_clip model"):
            write_encoder(
                tmp_path / "encoder", backbone, None, CARD, formats=("open_clip", "transformers")
            )
        assert not (tmp_path / "encoder").exists()

    def test_a_format_that_was_not_asked_for_is_not_told_of(self, tmp_path):
        backbone = load_backbone(f"local-dir:{tiny_open_clip(tmp_path / 'base')}")
        adapter = train(backbone)
        folder = tmp_path / "encoder"
        write_encoder(folder, backbone, adapter, CARD, formats=("open_clip",), vision_only=True)
        assert not (folder / "config.json").exists()
        assert not (folder / "vision").exists()
        text = (folder / "README.md").read_text()
        assert "This folder has no transformers files. They were not asked for." in text
        assert "from transformers import" not in text
        names = load_file(folder / "adapter/adapter_model.safetensors")
        assert all(name.startswith("base_model.model.transformer.resblocks.") for name in names)


class TestCrop:
    @pytest.mark.parametrize(
        ("width", "shift"), [(50, 0), (51, 0), (52, 0), (53, 1), (54, 0), (55, 0), (57, 1)]
    )
    def test_the_crop_lies_where_the_card_says(self, tmp_path, width, shift):
        """Resized to 50 px, a picture of 50 x width is cropped to 50 of width."""
        folder = tmp_path / "encoder"
        write_encoder(
            folder, load_backbone(f"local-dir:{tiny_open_clip(tmp_path / 'base')}"), None, CARD
        )
        image = images(1, (32 + width - 50, 32))[0]
        ours = load_encoder(folder).backbone.preprocessing
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        theirs = processor(image, return_tensors="pt").pixel_values[0]
        left = (image.width - 32) // 2
        cut = torch.stack(
            [
                ours.normalize(ours(image.crop((left + s, 0, left + s + 32, 32)))[None])[0]
                for s in (0, 1)
            ]
        )
        torch.testing.assert_close(theirs, cut[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(
            ours.normalize(ours(image)[None])[0], cut[shift], atol=1e-5, rtol=0
        )


class TestLoadEncoder:
    def test_more_images_than_a_batch_and_none(self, exported):
        *_, folder = exported
        encoder = load_encoder(folder)
        torch.testing.assert_close(
            encoder.encode_image(images(5), batch_size=2),
            encoder.encode_image(images(5)),
            atol=1e-5,
            rtol=0,
        )
        assert encoder.encode_image([]).shape == (0, 24)

    def test_takes_any_image(self, exported):
        *_, folder = exported
        assert load_encoder(folder).encode_image([Image.new("L", (7, 90))]).shape == (1, 24)

    def test_a_missing_folder_names_the_command(self, tmp_path):
        with pytest.raises(UserError, match="make demo"):
            load_encoder(tmp_path / "nowhere")

    def test_a_plain_transformers_folder_loads(self, tmp_path):
        assert load_encoder(tiny_hf_clip(tmp_path / "m")).encode_image(images()).shape == (3, 24)


class TestWriteOpenClip:
    def test_round_trip(self, tmp_path):
        backbone = OpenClipBackbone.build(
            tiny_model_cfg(), {"mean": (0.1, 0.2, 0.3), "interpolation": "bilinear"}
        )
        write_open_clip(tmp_path / "m", backbone)
        loaded = load_backbone(f"local-dir:{tmp_path / 'm'}")
        assert loaded.preprocessing == backbone.preprocessing
        assert loaded.model_cfg == backbone.model_cfg
        assert torch.equal(loaded.encode_image(pixels()), backbone.encode_image(pixels()))
        assert torch.equal(loaded.encode_text(TEXTS), backbone.encode_text(TEXTS))


def logits(backbone):
    batch = torch.stack([backbone.preprocess(image) for image in images()])
    image_features = torch.nn.functional.normalize(backbone.encode_image(batch), dim=-1)
    text_features = torch.nn.functional.normalize(backbone.encode_text(TEXTS), dim=-1)
    return backbone.logit_scale * image_features @ text_features.T
