"""A family of backbones is one file: that of docs/extending.md, laid into a copy of the package, is
loaded, trained and exported, and no other file knows of it.
"""

import json
import os
import subprocess
import sys

import pytest

from doc_code import blocks, changed, copy_package, lay_in
from models import tiny_hf_clip

FAMILY = "src/dcr/models/backbones/families/quiet_clip.py"

USE = """
import json, sys
import torch
from dcr.errors import UserError
from dcr.export.folder import write_encoder
from dcr.fingerprints import SOURCES
from dcr.models.backbones import (
    check_backbone, load_backbone, lora_targets, split_attention, transformer_blocks
)
from dcr.models.hub import fetch_models

folder, other, out = sys.argv[1:]
pixels = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
check_backbone(folder)
backbone = load_backbone(folder)
found = {
    "family": type(backbone).__name__,
    "blocks": [type(block).__name__ for block in transformer_blocks(backbone.visual)],
}
split_attention(backbone.visual)
found["targets"] = lora_targets(backbone.visual)
found["files"] = sorted(fetch_models({"backbone": folder}, {}, {})["backbone"]["files"])
card = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "mit"}
write_encoder(out, backbone, None, card)
for source in (out, f"local-dir:{out}"):
    written = load_backbone(source)
    equal = torch.allclose(written.encode_image(pixels), backbone.encode_image(pixels), atol=1e-5)
    found[type(written).__name__] = equal
try:
    load_backbone(other)
except UserError as error:
    found["refusal"] = str(error)
code = SOURCES.reached(["dcr.training.stages", "dcr.models.backbones"])
found["code"] = "dcr.models.backbones.families.quiet_clip" in code
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What a process sees that runs a copy of the package with one file more."""
    root = tmp_path_factory.mktemp("family")
    source = copy_package(root)
    lay_in(root, blocks("A backbone"))
    for name, model_type in (("model", "quiet_clip"), ("other", "loud_clip")):
        config = tiny_hf_clip(root / name) / "config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "model_type": model_type}))
    done = subprocess.run(
        [sys.executable, "-c", USE, root / "model", root / "other", root / "out"],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {**json.loads(done.stdout.splitlines()[-1]), "changed": changed(root)}


def test_that_file_is_all_that_differs(found):
    assert found["changed"] == {FAMILY}


def test_its_folder_is_recognised_loaded_and_fetched(found):
    assert found["family"] == "QuietBackbone"
    assert found["files"] >= ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert found["refusal"].endswith(
        "config.json has model_type 'loud_clip', supported are clip, quiet_clip, siglip."
    )


def test_lora_finds_its_blocks_and_the_layers_that_it_names(found):
    assert found["blocks"] == ["QuietLayer"] * 2
    assert found["targets"] == [
        f"vision_model.encoder.layers.{block}.mlp.{layer}"
        for block in (0, 1)
        for layer in ("fc1", "fc2")
    ]


def test_it_is_exported_in_its_own_forms(found):
    assert found["ClipBackbone"] is True  # what transformers reads
    assert found["OpenClipBackbone"] is True


def test_trained_weights_depend_on_its_code(found):
    assert found["code"] is True
