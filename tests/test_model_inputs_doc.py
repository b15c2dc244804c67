"""docs/inputs.md agrees with what becomes of checkpoints and model folders."""

import json
import re

import open_clip
import pytest
import torch
from open_clip.pretrained import _PRETRAINED
from safetensors.torch import load_file, save_file

from dcr.errors import UserError
from dcr.models.backbones import load_backbone
from dcr.models.diffusion import load_diffusion
from diffusion_models import tiny_diffusion
from inputs_doc import table_of
from models import pixels, tiny_hf_clip, tiny_model_cfg, tiny_open_clip

WEIGHTS = "open_clip_model.safetensors"


def edit(path, *keys, **values):
    """Change values of a JSON file, inside the mapping that ``keys`` lead to."""
    config = json.loads(path.read_text())
    inner = config
    for key in keys:
        inner = inner[key]
    inner.update(values)
    path.write_text(json.dumps(config))


def images_of(source):
    return lambda: load_backbone(source).encode_image(pixels())


def open_clip_with(folder, tower=None, **values):
    tiny_open_clip(folder)
    if tower:
        edit(folder / "open_clip_config.json", "model_cfg", tower, **values)
    return images_of(f"local-dir:{folder}")


def transformers_with(folder, file="config.json", **values):
    tiny_hf_clip(folder)
    edit(folder / file, **values)
    return images_of(str(folder))


def weights_as(folder, name, change=lambda state: state, save=torch.save):
    """Write an open_clip folder whose weights are changed and saved under another name."""
    use = open_clip_with(folder)
    state = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    save(change(state), folder / name)
    return use


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def cut(folder, keep):
    use = open_clip_with(folder)
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:keep])
    return use


def without(folder, pattern, use):
    for path in folder.glob(pattern):
        path.unlink()
    return use


def under_a_name(folder, traced=False, published=False):
    """Write one file of weights with gelu, and return how to load it under a model's name with
    quick_gelu.
    """
    tiny_open_clip(folder, tiny_model_cfg(quick_gelu=False))
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    name = f"doc-{folder.parent.name}"
    (folder / f"{name}.json").write_text(json.dumps(tiny_model_cfg(quick_gelu=traced or published)))
    open_clip.add_model_config(folder / f"{name}.json")
    _PRETRAINED[name] = (
        {"tag": {"url": f"https://nowhere/{name}.pt", "quick_gelu": False}} if published else {}
    )
    path = folder / f"{name if published else 'other'}.pt"
    if traced:
        example = (torch.rand(1, 3, 32, 32), torch.zeros(1, 20, dtype=torch.long))
        torch.jit.trace(model, example, check_trace=False).save(str(path))
    else:
        torch.save(model.state_dict(), path)

    def use():
        assert load_backbone(f"{name}/{path}").model_cfg["quick_gelu"] is False

    return use


def diffusion_with(folder, **unet):
    tiny_diffusion(folder / "tokenizer source").save(folder)
    edit(folder / "unet/config.json", **unet)
    return lambda: load_diffusion(str(folder))


def texts_without_tokenizer(folder):
    tiny_hf_clip(folder)
    without(folder, "tokenizer*", None)
    images_of(str(folder))()
    return lambda: load_backbone(str(folder)).encode_text(["a"])


def empty(folder):
    folder.mkdir()
    return images_of(str(folder))


EXAMPLES = [  # in the order of the rows: ways to make what is read, and what is refused
    ([open_clip_with], [lambda f: open_clip_with(f, "vision_cfg", new_key=1)]),
    ([transformers_with, lambda f: transformers_with(f, new_key=1)], []),
    ([], [lambda f: transformers_with(f, model_type="bert")]),
    ([], [empty]),
    ([], [lambda f: without(f, WEIGHTS, open_clip_with(f))]),
    (
        [
            lambda f: transformers_with(
                f, auto_map={"AutoModel": "evil.Evil"}, trust_remote_code=True
            )
        ],
        [lambda f: open_clip_with(f, "text_cfg", tokenizer_kwargs={"trust_remote_code": True})],
    ),
    ([], [lambda f: open_clip_with(f, "text_cfg", hf_model_name="org/name")]),
    (
        [
            lambda f: weights_as(f, "open_clip_pytorch_model.bin"),
            lambda f: weights_as(f, "model.pth"),
        ],
        [
            lambda f: weights_as(
                f, "pytorch_model.bin", lambda state: {"state_dict": state, "run": print}
            )
        ],
    ),
    ([], [lambda f: weights_as(f, "model.pkl"), lambda f: weights_as(f, "flax_model.msgpack")]),
    (
        [
            lambda f: weights_as(
                f, "model.pth", lambda state: {"state_dict": prefixed("module._orig_mod.", state)}
            ),
            lambda f: weights_as(
                f, "model.pth", lambda state: {"model": prefixed("model.", state)}
            ),
            lambda f: weights_as(f, "model.pth", lambda state: prefixed("visual.", state)),
        ],
        [],
    ),
    (
        [],
        [
            lambda f: weights_as(f, WEIGHTS, lambda s: s | {"more": torch.ones(1)}, save_file),
            lambda f: weights_as(
                f,
                WEIGHTS,
                lambda s: s | {"visual.proj": s["visual.proj"].to(torch.int8)},
                save_file,
            ),
        ],
    ),
    ([], [lambda f: open_clip_with(f, "vision_cfg", image_size=64)]),
    ([], [lambda f: cut(f, 1000), lambda f: cut(f, -1)]),
    ([], [lambda f: open_clip_with(f, "text_cfg", layers=10**6)]),
    ([lambda f: under_a_name(f, traced=True)], []),
    ([lambda f: under_a_name(f, published=True)], []),
    ([under_a_name], []),
    ([], [lambda f: without(f, "preprocessor_config.json", transformers_with(f))]),
    (
        [],
        [
            lambda f: transformers_with(f, "preprocessor_config.json", do_normalize=False),
            lambda f: transformers_with(f, "preprocessor_config.json", rescale_factor=1.0),
        ],
    ),
    ([], [texts_without_tokenizer]),
    ([diffusion_with], []),
    (
        [],
        [
            lambda f: diffusion_with(f, in_channels=9),
            lambda f: diffusion_with(f, num_class_embeds=10),
        ],
    ),
]
ROWS = table_of("Checkpoints and model folders")


@pytest.fixture(autouse=True)
def _open_clips_table_as_it_was():
    """Examples enter models of their own into open_clip's table, which other tests of this
    process read.
    """
    before = dict(_PRETRAINED)
    yield
    _PRETRAINED.clear()
    _PRETRAINED.update(before)


def test_every_row_has_an_example():
    assert len(ROWS) == len(EXAMPLES)


@pytest.mark.parametrize(
    ("row", "examples"), zip(ROWS, EXAMPLES, strict=True), ids=[row[0][:40] for row in ROWS]
)
def test_what_is_there_becomes_what_its_row_tells(tmp_path, row, examples, caplog):
    _, becomes, otherwise = row
    read, refused = examples
    for index, make in enumerate(read):
        make(tmp_path / f"read {index}")()
    for index, make in enumerate(refused):
        with pytest.raises(UserError, match=re.escape(otherwise.strip("`"))):
            make(tmp_path / f"refused {index}")()
    assert bool(otherwise) == bool(refused)
    assert ("does not say which activation" in caplog.text) == ("and a warning" in becomes)
