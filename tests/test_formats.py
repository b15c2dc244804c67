"""Each family in each format on disk: what goes out equals what came in, in every library,
before and after LoRA.
"""

import json

import open_clip
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, inject_adapter_in_model
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    CLIPModel,
    CLIPVisionModel,
    SiglipModel,
    SiglipVisionModel,
)

from dcr.errors import UserError
from dcr.export.folder import write_encoder
from dcr.models.backbones import load_backbone, lora_targets, merge_lora, split_attention
from dcr.models.encoder import load_encoder
from models import (
    TEXTS,
    images,
    pixels,
    randomize_adapter,
    tiny_hf_clip,
    tiny_model_cfg,
    tiny_open_clip,
    tiny_siglip,
    with_sentencepiece,
)
from timm_models import eva_cfg, siglip_cfg, tiny_open_clip_siglip

CARD = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "apache-2.0"}


def single_file(root, folder, model_cfg, save):
    """Return ``<open_clip model>/<file>`` for a folder's weights, under a model name that
    open_clip then knows.
    """
    config = root / "configs" / f"tiny-{root.name}.json"
    config.parent.mkdir()
    if "hf_tokenizer_name" in model_cfg["text_cfg"]:
        model_cfg["text_cfg"]["hf_tokenizer_name"] = str(folder)
    config.write_text(json.dumps(model_cfg))
    open_clip.add_model_config(config)
    save(load_file(folder / "open_clip_model.safetensors"), root / "weights.pt")
    return f"{config.stem}/{root / 'weights.pt'}"


def openai_torchscript(root):
    """Write a TorchScript archive as OpenAI's are, return it as a source."""
    folder = tiny_open_clip(root / "folder")
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    tokens = torch.zeros(1, 20, dtype=torch.long)
    example = (torch.rand(1, 3, 32, 32), tokens)
    scripted = torch.jit.trace(model, example, check_trace=False)
    return single_file(root, folder, tiny_model_cfg(), lambda _, path: scripted.save(str(path)))


def wrapped(state, path):
    """Save as a trainer would: inside ``state_dict``, with the prefix of a data-parallel
    wrapper, in half precision.
    """
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        path,
    )


def single(write, model_cfg, save=torch.save):
    return lambda root: single_file(root, write(root / "folder"), model_cfg, save)


def eva(name):
    return lambda folder: tiny_open_clip(folder, eva_cfg(name))


SOURCES = {
    "clip, transformers": lambda root: str(tiny_hf_clip(root / "m")),
    "clip, open_clip": lambda root: f"local-dir:{tiny_open_clip(root / 'm')}",
    "clip, .pt": single(tiny_open_clip, tiny_model_cfg()),
    "clip, a trainer's .pt": single(tiny_open_clip, tiny_model_cfg(), wrapped),
    "clip, OpenAI's TorchScript": openai_torchscript,
    "siglip, transformers": lambda root: str(tiny_siglip(root / "m")),
    "siglip with exact gelu, transformers": lambda root: str(
        tiny_siglip(root / "m", hidden_act="gelu")
    ),
    "siglip with its own tokenizer, transformers": lambda root: str(
        with_sentencepiece(tiny_siglip(root / "m"))
    ),
    "siglip, open_clip": lambda root: f"local-dir:{tiny_open_clip_siglip(root / 'm')}",
    "siglip with tanh gelu, open_clip": lambda root: (
        f"local-dir:{tiny_open_clip_siglip(root / 'm', 'vit_tanh_patch8_siglip_32')}"
    ),
    "siglip, .pt": single(tiny_open_clip_siglip, siglip_cfg()),
    "eva01, open_clip": lambda root: f"local-dir:{eva('eva01_tiny_patch8_32')(root / 'm')}",
    "eva02, open_clip": lambda root: f"local-dir:{eva('eva02_tiny_patch8_32')(root / 'm')}",
    "eva02, .pt": single(eva("eva02_tiny_patch8_32"), eva_cfg("eva02_tiny_patch8_32")),
}
IN_TRANSFORMERS = [name for name in SOURCES if not name.startswith("eva")]


@pytest.fixture(scope="module")
def case(request, tmp_path_factory):
    """A source, its backbone with LoRA merged, the features before the merge, and exports
    before and after training.
    """
    root = tmp_path_factory.mktemp("formats")
    source = SOURCES[request.param](root)
    backbone = load_backbone(source)
    original = logits(backbone)
    write_encoder(root / "before", backbone, None, CARD)
    adapter, adapted = train(backbone)
    write_encoder(root / "after", backbone, adapter, CARD)
    return {
        "name": request.param,
        "source": source,
        "backbone": backbone,
        "root": root,
        "original": original,
        "adapted": adapted,
        "targets": adapter["targets"],
    }


every = pytest.mark.parametrize("case", SOURCES, indirect=True)
in_transformers = pytest.mark.parametrize("case", IN_TRANSFORMERS, indirect=True)
before_and_after = pytest.mark.parametrize("stage", ["before", "after"])


def train(backbone):
    """Put LoRA on the tower, change it as training would, merge it; return adapter and features
    before the merge.
    """
    split_attention(backbone.visual)
    targets = lora_targets(backbone.visual)
    config = LoraConfig(r=4, lora_alpha=4, bias="lora_only", target_modules=targets)
    backbone.visual.requires_grad_(False)
    inject_adapter_in_model(config, backbone.visual)
    factors = {
        name.split(".lora_")[0]
        for name, _ in backbone.visual.named_parameters()
        if ".lora_" in name
    }
    assert factors == set(targets)
    randomize_adapter(backbone.visual.eval())
    weights = {
        name: tensor.clone() for name, tensor in get_peft_model_state_dict(backbone.visual).items()
    }
    adapted = backbone.encode_image(pixels())
    adapted.square().sum().backward()
    ignored = [
        n
        for n, p in backbone.visual.named_parameters()
        if ".lora_" in n and not p.grad.abs().sum() > 0
    ]
    assert not ignored, "these adapters have no effect"
    merge_lora(backbone.visual)
    return {"config": config, "weights": weights, "targets": targets}, adapted.detach()


@torch.no_grad()
def logits(backbone):
    batch = torch.stack([backbone.preprocess(image) for image in images()])
    image_features, text_features = backbone.encode_image(batch), backbone.encode_text(TEXTS)
    scaled = backbone.logit_scale * F.normalize(image_features) @ F.normalize(text_features).T
    return scaled + backbone.logit_bias


def expected(case, stage):
    return case["original"] if stage == "before" else logits(case["backbone"])


@every
@before_and_after
class TestLogits:
    def test_dcr(self, case, stage):
        loaded = load_encoder(case["root"] / stage).backbone
        torch.testing.assert_close(logits(loaded), expected(case, stage), atol=1e-4, rtol=0)

    @torch.no_grad()
    def test_open_clip(self, case, stage):
        source = f"local-dir:{case['root'] / stage}"
        model, _, preprocess = open_clip.create_model_and_transforms(
            source, require_pretrained=True
        )
        batch = torch.stack([preprocess(image) for image in images()])
        result = model.eval().get_logits(batch, open_clip.get_tokenizer(source)(TEXTS))[0]
        torch.testing.assert_close(result, expected(case, stage), atol=1e-4, rtol=0)


@in_transformers
@before_and_after
class TestTransformers:
    @torch.no_grad()
    @pytest.mark.parametrize("auto", [True, False])
    def test_logits(self, case, stage, auto):
        folder = case["root"] / stage
        is_siglip = case["name"].startswith("siglip")
        model_class = AutoModel if auto else SiglipModel if is_siglip else CLIPModel
        model, report = model_class.from_pretrained(folder, output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        batch = AutoImageProcessor.from_pretrained(folder, backend="pil")(
            images(), return_tensors="pt"
        ).pixel_values
        length = model.config.text_config.max_position_embeddings
        tokens = AutoTokenizer.from_pretrained(folder)(
            TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
        )
        result = model.eval()(pixel_values=batch, input_ids=tokens.input_ids).logits_per_image
        torch.testing.assert_close(result, expected(case, stage), atol=1e-4, rtol=0)


@in_transformers
@pytest.mark.parametrize("size", [(50, 42), (42, 50), (32, 32), (64, 128), (20, 24)])
def test_all_three_make_the_same_pixels(case, size):
    folder = case["root"] / "after"
    preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")[2]
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    preprocessing = load_encoder(folder).backbone.preprocessing
    for image in images(2, size):
        expected = preprocessing.normalize(preprocessing(image)[None])[0]
        torch.testing.assert_close(preprocess(image), expected, atol=1e-5, rtol=0)
        transformed = processor(image, return_tensors="pt").pixel_values[0]
        torch.testing.assert_close(transformed, expected, atol=1e-5, rtol=0)


@in_transformers
@torch.no_grad()
def test_llava_reads_the_towers_patch_tokens_from_every_source(case):
    """The hidden states before the last layer, from the folder as LLaVA opens it."""
    is_siglip = case["name"].startswith("siglip")
    tower = (
        (SiglipVisionModel if is_siglip else CLIPVisionModel)
        .from_pretrained(case["root"] / "after")
        .eval()
    )
    normalized = case["backbone"].preprocessing.normalize(pixels())
    states = tower(normalized, output_hidden_states=True).hidden_states[-2]
    patches = states if is_siglip else states[:, 1:]
    torch.testing.assert_close(patches, case["backbone"].patch_tokens(pixels()), atol=1e-4, rtol=0)


class TestLora:
    @every
    def test_merged_and_unmerged_agree(self, case):
        torch.testing.assert_close(
            case["backbone"].encode_image(pixels()), case["adapted"], atol=1e-5, rtol=1e-5
        )

    @every
    def test_touches_attention_and_mlp_of_blocks_alone(self, case):
        layers = {name.rsplit(".", 1)[-1] for name in case["targets"]}
        assert layers in (
            {"q_proj", "k_proj", "v_proj", "out_proj", "c_fc", "c_proj"},  # open_clip
            {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"},  # transformers
            {"qkv", "proj", "fc1", "fc2"},  # timm's ViT and EVA-01
            {"q_proj", "k_proj", "v_proj", "proj", "fc1_g", "fc1_x", "fc2"},  # EVA-02's gated MLP
        )
        assert all(".0." in name or ".1." in name for name in case["targets"])

    @in_transformers
    @torch.no_grad()
    def test_peft_puts_the_adapter_on_what_was_exported_before(self, case):
        folder = case["root"]
        model = AutoModel.from_pretrained(folder / "before")
        adapted = PeftModel.from_pretrained(model, folder / "after" / "adapter").merge_and_unload()
        after = AutoModel.from_pretrained(folder / "after")
        for name, tensor in after.state_dict().items():
            torch.testing.assert_close(adapted.state_dict()[name], tensor, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", ["eva02, open_clip"], indirect=True)
def test_what_transformers_cannot_express_is_said_in_the_card(case):
    text = (case["root"] / "after" / "README.md").read_text()
    assert "This folder has no transformers files." in text
    assert "its image tower is a TimmModel" in text
    assert not (case["root"] / "after" / "config.json").exists()


def test_a_siglip_tower_that_timm_lacks_is_said_in_the_card(tmp_path):
    backbone = load_backbone(str(tiny_siglip(tmp_path / "m", hidden_act="relu")))
    write_encoder(tmp_path / "encoder", backbone, None, CARD)
    text = (tmp_path / "encoder" / "README.md").read_text()
    assert "This folder has no open_clip files." in text
    assert "activation relu" in text


class TestTorchScript:
    def test_a_malicious_archive_is_refused(self, tmp_path):
        import pickle
        import zipfile

        class Malice:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        source = openai_torchscript(tmp_path)
        with zipfile.ZipFile(tmp_path / "weights.pt", "a") as archive:
            root = archive.namelist()[0].split("/")[0]
        evil = tmp_path / "evil.pt"
        with zipfile.ZipFile(evil, "w") as archive:
            archive.writestr(f"{root}/code/a.py", "")
            archive.writestr(f"{root}/data.pkl", pickle.dumps({"weight": Malice()}))
        with pytest.raises(UserError, match="neither a tensor nor a module"):
            load_backbone(f"{source.partition('/')[0]}/{evil}")
        assert not (tmp_path / "ran").exists()

    def test_values_equal_pytorchs_own_reading(self, tmp_path):
        from dcr.models.backbones.torchscript import is_torchscript, read_torchscript

        openai_torchscript(tmp_path)
        own = torch.jit.load(tmp_path / "weights.pt").state_dict()
        read = read_torchscript(tmp_path / "weights.pt")
        assert is_torchscript(tmp_path / "weights.pt")
        assert read.keys() == own.keys() - {"attn_mask"}  # a constant that the tower makes itself
        assert all(torch.equal(tensor, own[name]) for name, tensor in read.items())

    def test_a_state_dict_is_no_archive(self, tmp_path):
        from dcr.models.backbones.torchscript import is_torchscript

        torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
        (tmp_path / "b.safetensors").write_bytes(b"x")
        assert not is_torchscript(tmp_path / "a.pt")
        assert not is_torchscript(tmp_path / "b.safetensors")
