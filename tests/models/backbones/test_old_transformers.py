"""An exported folder under transformers 4.37.2, the version that LLaVA 1.5 pins, in an
environment of its own.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from dcr.export.folder import write_encoder
from dcr.models.backbones import load_backbone
from dcr.models.encoder import load_encoder
from models import TEXTS, images, pixels, tiny_open_clip, tiny_siglip

pytestmark = pytest.mark.slow

CARD = {"base_model": "tiny", "recipe": "demo", "method": "dcr", "licence": "apache-2.0"}
# Only torch is shared with this environment: another transformers' helpers must not be found.
SHARED = (
    "torch",
    "torchgen",
    "functorch",
    "sympy",
    "mpmath",
    "networkx",
    "jinja2",
    "markupsafe",
    "nvidia",
    "triton",
)
READ = """
import sys
import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoModel, AutoTokenizer, CLIPImageProcessor, CLIPVisionModel
from transformers import SiglipImageProcessor, SiglipVisionModel

assert transformers.__version__ == "4.37.2"
folder, work, family = sys.argv[1:]
vision = CLIPVisionModel if family == "clip" else SiglipVisionModel
processor = CLIPImageProcessor if family == "clip" else SiglipImageProcessor
pixels = torch.from_numpy(np.load(f"{work}/pixels.npy"))
result = {}
with torch.no_grad():
    for name, path in (("full", folder), ("vision", f"{folder}/vision")):
        tower, report = vision.from_pretrained(path, output_loading_info=True)
        assert not report["missing_keys"], report
        result[name] = tower.eval()(pixels, output_hidden_states=True).hidden_states[-2]
    image = Image.open(f"{work}/image.png")
    process = processor.from_pretrained(f"{folder}/vision")
    result["pixels"] = process(image, return_tensors="pt").pixel_values
    model, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"], report
    texts = open(f"{work}/texts.txt", encoding="utf-8").read().split("|")
    length = model.config.text_config.max_position_embeddings
    tokens = AutoTokenizer.from_pretrained(folder)(
        texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )
    result["text"] = model.eval().get_text_features(input_ids=tokens.input_ids)
np.savez(f"{work}/result.npz", **{name: value.numpy() for name, value in result.items()})
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment with transformers 4.37.2 and this environment's torch."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    uv = (sys.executable, "-m", "uv")
    subprocess.run([*uv, "venv", "-q", "--python", sys.executable, environment], check=True)
    interpreter = environment / "bin" / "python"
    packages = (
        "transformers==4.37.2",
        "numpy<2",
        "huggingface_hub<0.26",
        "pillow",
        "typing_extensions",
    )
    subprocess.run([*uv, "pip", "install", "-q", "--python", interpreter, *packages], check=True)
    site = next((environment / "lib").glob("python*")) / "site-packages"
    for name in SHARED:
        spec = importlib.util.find_spec(name)
        if spec is not None:
            (site / name).symlink_to(Path(next(iter(spec.submodule_search_locations))))
    metadata = next(Path(torch.__file__).parents[1].glob("torch-*.dist-info"))
    (site / metadata.name).symlink_to(metadata)
    return interpreter


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_hidden_states_pixels_and_text_features_are_the_same(python, tmp_path, family):
    source = (
        f"local-dir:{tiny_open_clip(tmp_path / 'm')}"
        if family == "clip"
        else str(tiny_siglip(tmp_path / "m"))
    )
    folder = tmp_path / "encoder"
    write_encoder(folder, load_backbone(source), None, CARD, vision_only=True)
    backbone = load_encoder(folder).backbone
    # This version's tokenizers lack ftfy's repairs.
    texts = [text for text in TEXTS if text.isascii()]
    np.save(tmp_path / "pixels.npy", backbone.preprocessing.normalize(pixels()).numpy())
    images(1)[0].save(tmp_path / "image.png")
    (tmp_path / "texts.txt").write_text("|".join(texts))

    subprocess.run([python, "-c", READ, folder, tmp_path, family], check=True)

    result = {
        name: torch.from_numpy(array) for name, array in np.load(tmp_path / "result.npz").items()
    }
    patches = slice(1, None) if family == "clip" else slice(None)
    for name in ("full", "vision"):
        torch.testing.assert_close(
            result[name][:, patches], backbone.patch_tokens(pixels()), atol=1e-4, rtol=0
        )
    expected = backbone.preprocessing.normalize(backbone.preprocess(images(1)[0])[None])
    torch.testing.assert_close(result["pixels"], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(result["text"], backbone.encode_text(texts), atol=1e-4, rtol=0)
