"""A model folder is data: whatever its files ask for, nothing in it runs, nobody is asked, and
nothing is fetched.
"""

import ast
import json
import shutil
import socket
from pathlib import Path

import pytest
import torch

from dcr.errors import UserError
from dcr.models.backbones import check_backbone, load_backbone
from dcr.models.diffusion import load_diffusion
from dcr.models.diffusion_source import check_diffusion
from dcr.models.model_configs import check_numbers, load_tokenizer, read_json
from diffusion_models import tiny_diffusion
from models import TEXTS, pixels, tiny_hf_clip, tiny_open_clip, tiny_siglip
from timm_models import tiny_open_clip_siglip

SOURCE = Path(__file__).parents[2] / "src/dcr"
FORMATS = {
    "open_clip": tiny_open_clip,
    "open_clip siglip": tiny_open_clip_siglip,
    "clip": tiny_hf_clip,
    "siglip": tiny_siglip,
}
EVIL = """
from pathlib import Path
Path(__file__).with_name("ran").touch()
Path({marker!r}).touch()
class Evil:
    def __init__(self, *args, **kwargs): pass
    from_pretrained = from_config = classmethod(lambda cls, *args, **kwargs: cls())
"""
AUTO_CLASSES = (
    "AutoConfig",
    "AutoModel",
    "AutoImageProcessor",
    "AutoProcessor",
    "AutoFeatureExtractor",
)
AUTO = {**dict.fromkeys(AUTO_CLASSES, "evil.Evil"), "AutoTokenizer": ["evil.Evil", "evil.Evil"]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A whole folder of every format that is read."""
    root = tmp_path_factory.mktemp("formats")
    for name, write in FORMATS.items():
        write(root / name)
    tiny_diffusion(root / "tokenizer").save(root / "diffusion")
    parts = {
        part: ["evil", "Evil"] for part in ("unet", "vae", "scheduler", "text_encoder", "tokenizer")
    }
    (root / "diffusion/model_index.json").write_text(
        json.dumps({"_class_name": ["evil", "Evil"], **parts})
    )
    for name in ("special_tokens_map.json", "added_tokens.json"):
        for folder in ("open_clip siglip", "clip", "siglip", "diffusion/tokenizer"):
            (root / folder / name).write_text("{}")
    return root


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Return the file that hostile code would make; questions and connections fail the test."""

    def refuse(*args, **kwargs):
        raise AssertionError(f"a folder made DCR ask or connect: {args}")

    monkeypatch.setattr("builtins.input", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "ran"


def use(name, folder):
    """Do with a folder all that DCR does with one."""
    if name == "diffusion":
        check_diffusion(folder, str(folder))
        return load_diffusion(str(folder)).encode_prompts(["a fish"])
    source = f"local-dir:{folder}" if name.startswith("open_clip") else str(folder)
    check_backbone(source)
    backbone = load_backbone(source)
    return backbone.encode_image(pixels()), backbone.encode_text(TEXTS)


def configs():
    """Return (format, JSON file) of every configuration of every format."""
    found = {
        "open_clip": ["open_clip_config.json"],
        "open_clip siglip": [
            "open_clip_config.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
        ],
        "clip": [
            "config.json",
            "preprocessor_config.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
        ],
        "diffusion": [
            *(
                "model_index.json",
                "unet/config.json",
                "vae/config.json",
                "scheduler/scheduler_config.json",
            ),
            *(
                "text_encoder/config.json",
                "tokenizer/tokenizer_config.json",
                "tokenizer/added_tokens.json",
            ),
        ],
    }
    found["siglip"] = found["clip"]
    return [(name, file) for name, files in found.items() for file in files]


def objects(config):
    """Yield a mapping and all mappings inside it."""
    yield config
    for value in list(config.values()):
        if isinstance(value, dict):
            yield from objects(value)


def evil_copy(folders, name, file, extra, tmp_path):
    """Copy a folder, with ``extra`` in every mapping of one of its files and hostile Python
    beside it.
    """
    folder = shutil.copytree(folders / name, tmp_path / "evil folder")
    path = folder / file
    config = json.loads(path.read_text())
    for mapping in list(objects(config)):
        mapping |= extra
    path.write_text(json.dumps(config))
    for place in {folder, path.parent}:
        (place / "evil.py").write_text(EVIL.format(marker=str(tmp_path / "ran")))
        (place / "__init__.py").write_text(EVIL.format(marker=str(tmp_path / "ran")))
    return folder


@pytest.mark.parametrize(("name", "file"), configs())
@pytest.mark.parametrize(
    "extra",
    [
        {
            "auto_map": AUTO,
            "model_type": "evil",
            "tokenizer_class": "Evil",
            "image_processor_type": "Evil",
        },
        {
            "auto_map": AUTO,
            "trust_remote_code": True,
            "architectures": ["Evil"],
            "custom_pipeline": "evil",
        },
        {
            "tokenizer_kwargs": {"trust_remote_code": True},
            "hf_tokenizer_name": "evil/evil",
            "auto_map": AUTO,
        },
        {
            "hf_model_name": "evil/evil",
            "timm_model_name": "hf-hub:evil/evil",
            "_class_name": "Evil",
        },
        {
            "quantization_config": {"quant_method": "bitsandbytes", "load_in_8bit": True},
            "_attn_implementation": "e/e",
        },
    ],
    ids=["auto_map", "trust", "tokenizer_kwargs", "repositories", "quantization"],
)
def test_nothing_in_a_folder_runs(folders, name, file, extra, tmp_path, trap):
    folder = evil_copy(folders, name, file, extra, tmp_path)
    try:
        use(name, folder)
    except UserError as error:
        told = str(error)
    else:
        told = ""
    assert "\n" not in told
    assert not trap.exists()
    assert not list(folder.rglob("ran"))


@pytest.mark.parametrize("name", [*FORMATS, "diffusion"])
def test_a_whole_folder_loads_without_network(folders, name, trap):
    use(name, folders / name)


@pytest.mark.parametrize("name", [name for name in FORMATS if not name.startswith("open_clip")])
def test_keys_off_the_list_change_nothing(folders, name, tmp_path):
    extra = {
        "auto_map": AUTO,
        "trust_remote_code": True,
        "torch_dtype": "float16",
        "quantization_config": {"a": 1},
    }
    folder = evil_copy(folders, name, "config.json", extra, tmp_path)
    for result, expected in zip(use(name, folder), use(name, folders / name), strict=True):
        assert torch.equal(result, expected)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            ("text_cfg", "tokenizer_kwargs", {"trust_remote_code": True}),
            "text_cfg.tokenizer_kwargs has trust_remote_code",
        ),
        (
            ("text_cfg", "tokenizer_kwargs", {"bpe_path": "/etc/passwd"}),
            "text_cfg.tokenizer_kwargs has bpe_path",
        ),
        (
            ("text_cfg", "tokenizer_kwargs", {"reduction_mask": "syntax"}),
            "tokenizer_kwargs has reduction_mask",
        ),
        (("text_cfg", "hf_model_name", "org/name"), "built from another repository, org/name"),
        (
            ("vision_cfg", "timm_model_name", "hf-hub:org/name"),
            "must be the name of a model in timm",
        ),
        (
            ("vision_cfg", "timm_model_name", "local-dir:/etc"),
            "must be the name of a model in timm",
        ),
        (("vision_cfg", "norm_kwargs", {"device": "cuda"}), "vision_cfg.norm_kwargs has device"),
        (("vision_cfg", "new_kind_of_block", True), "vision_cfg has new_kind_of_block"),
    ],
)
def test_what_an_open_clip_folder_may_not_set_is_named(tmp_path, place, told):
    folder = tiny_open_clip(tmp_path / "m")
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    tower, key, value = place
    config["model_cfg"][tower][key] = value
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=told) as caught:
        load_backbone(f"local-dir:{folder}")
    assert str(path) in str(caught.value)


GIANTS = [
    ("open_clip", "open_clip_config.json", ("model_cfg", "vision_cfg", "width"), 10**9),
    ("open_clip", "open_clip_config.json", ("model_cfg", "text_cfg", "layers"), 10**6),
    ("open_clip", "open_clip_config.json", ("model_cfg", "text_cfg", "context_length"), 10**8),
    ("open_clip", "open_clip_config.json", ("model_cfg", "vision_cfg", "mlp_ratio"), 1e300),
    ("clip", "config.json", ("vision_config", "hidden_size"), 10**9),
    ("clip", "config.json", ("text_config", "num_hidden_layers"), 10**6),
    ("siglip", "config.json", ("text_config", "vocab_size"), 10**12),
    ("diffusion", "unet/config.json", ("layers_per_block",), 10**6),
    ("diffusion", "unet/config.json", ("block_out_channels",), [8, 10**9]),
    ("diffusion", "vae/config.json", ("block_out_channels",), [8, 8, 10**9]),
    ("diffusion", "text_encoder/config.json", ("vocab_size",), 10**12),
    ("diffusion", "scheduler/scheduler_config.json", ("num_train_timesteps",), 10**12),
]


@pytest.mark.parametrize(("name", "file", "keys", "value"), GIANTS)
def test_a_giant_is_refused_before_anything_of_its_size_is_made(
    folders, name, file, keys, value, tmp_path
):
    folder = shutil.copytree(folders / name, tmp_path / "m")
    config = json.loads((folder / file).read_text())
    *above, last = keys
    inner = config
    for key in above:
        inner = inner[key]
    inner[last] = value
    (folder / file).write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        use(name, folder)
    assert last in str(caught.value)


@pytest.mark.parametrize(
    "content", ["", "{", "[1, 2]", "null", '"text"', "[" * 100_000, "\ufeff{", '{"a": 1e999999}']
)
def test_a_config_that_is_no_mapping_is_one_sentence(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    if content.startswith('{"a"'):
        with pytest.raises(UserError, match="a is inf"):
            check_numbers(read_json(path), {}, path)
    else:
        with pytest.raises(UserError, match=r"config\.json"):
            read_json(path)


def test_a_folder_without_a_tokenizer_has_no_text_side(folders, tmp_path):
    folder = shutil.copytree(folders / "clip", tmp_path / "m")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    backbone = load_backbone(str(folder))
    assert backbone.encode_image(pixels()).shape == (3, 24)
    with pytest.raises(UserError, match="has no tokenizer, so it has no text side"):
        backbone.encode_text(["a"])


def test_a_tokenizer_leaves_no_copy_behind(folders, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tokenizer = load_tokenizer(folders / "clip")
    assert len(list(tmp_path.iterdir())) == 1
    del tokenizer
    assert not list(tmp_path.iterdir())


def calls():
    """Yield (file and line, name, keywords) of every call in the source."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                keywords = {
                    keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords
                }
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", ast.unparse(node.func), keywords


def test_every_call_that_could_run_foreign_code_is_told_not_to():
    wrong = []
    for place, name, keywords in calls():
        last = name.rpartition(".")[2]
        if last == "from_pretrained" and name != "nn.Embedding.from_pretrained":
            wrong += [place] if keywords.get("trust_remote_code") is not False else []
            wrong += [place] if keywords.get("local_files_only") is not True else []
        if name == "torch.load" and keywords.get("weights_only") is not True:
            wrong.append(place)
        if last in (
            "create_model_and_transforms",
            "get_tokenizer",
            "create_model_from_pretrained",
            "load_dataset",
        ):
            wrong.append(place)
        if name in (
            "open_clip.create_model",
            "pickle.load",
            "pickle.loads",
            "joblib.load",
            "torch.jit.load",
            "eval",
        ):
            wrong.append(place)
        if keywords.get("allow_pickle") or keywords.get("trust_remote_code"):
            wrong.append(place)
    assert not wrong
