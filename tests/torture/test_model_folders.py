"""Model folders with random values, cuts and flipped bytes: each loads or is refused in one
sentence.
"""

import json
import shutil
import time

import numpy as np
import pytest

from dcr.errors import UserError
from dcr.models.backbones import check_backbone, load_backbone
from dcr.models.diffusion import load_diffusion
from dcr.models.diffusion_source import check_diffusion
from diffusion_models import tiny_diffusion
from models import pixels, tiny_hf_clip, tiny_open_clip, tiny_siglip
from timm_models import tiny_open_clip_siglip

VALUES = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        3,
        7,
        10**6,
        10**9,
        10**30,
        0.5,
        -0.5,
        1e-30,
        1e300,
        float("nan"),
        float("inf"),
    ),
    *(
        "",
        "x",
        "x" * 10_000,
        "/etc/passwd",
        "../..",
        "hf-hub:org/name",
        "gelu",
        [],
        [1],
        [1, 2, 3],
        ["a"],
        {},
        {"a": 1},
    ),
    *([[]], [None] * 3, {"content": "x"}, "\u2028\n", "evil.Evil", [10**9] * 2),
]
KEYS = [
    "auto_map",
    "trust_remote_code",
    "quantization_config",
    "timm_model_name",
    "hf_model_name",
    "device",
    "dtype",
]
SECONDS = 20


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("formats")
    writers = {"open_clip": tiny_open_clip, "open_clip siglip": tiny_open_clip_siglip}
    writers |= {"clip": tiny_hf_clip, "siglip": tiny_siglip}
    for name, write in writers.items():
        write(root / name)
    tiny_diffusion(root / "tokenizer").save(root / "diffusion")
    shutil.rmtree(root / "tokenizer")
    return sorted(root.iterdir())


def mappings(value):
    """Return all mappings inside a value, itself included."""
    found = [value] if isinstance(value, dict) else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return found + [mapping for item in inner for mapping in mappings(item)]


def change_value(generator, path):
    config = json.loads(path.read_text())
    mapping = mappings(config)[generator.integers(len(mappings(config)))]
    keys = [*mapping, *KEYS]
    key, value = keys[generator.integers(len(keys))], VALUES[generator.integers(len(VALUES))]
    if generator.random() < 0.15:
        mapping.pop(key, None)
    else:
        mapping[key] = value
    path.write_text(json.dumps(config))
    return f"{path.name}: {key} = {str(value)[:40]}"


def damage_bytes(generator, path):
    content = bytearray(path.read_bytes())
    if generator.random() < 0.3:
        keep = int(generator.integers(len(content)))
        path.write_bytes(content[:keep])
        return f"{path.name}: cut to {keep}"
    header = min(len(content), 4096)  # where the structure of most files is
    for place in generator.integers(header, size=generator.integers(1, 5)):
        content[place] = generator.integers(256)
    path.write_bytes(content)
    return f"{path.name}: bytes"


def damage(generator, folder):
    """Change one file of a folder, at random; return in words what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    configs = [path for path in files if path.suffix == ".json" and path.stat().st_size < 100_000]
    if generator.random() < 0.7:
        return change_value(generator, configs[generator.integers(len(configs))])
    return damage_bytes(generator, files[generator.integers(len(files))])


def use(folder):
    if (folder / "unet").is_dir():
        check_diffusion(folder, str(folder))
        load_diffusion(str(folder)).encode_prompts(["a fish"])
        return
    source = f"local-dir:{folder}" if (folder / "open_clip_config.json").is_file() else str(folder)
    check_backbone(source)
    backbone = load_backbone(source)
    backbone.encode_image(pixels())
    backbone.encode_text(["a red fish"])


def test_a_damaged_folder_loads_or_is_refused_in_a_sentence(torture, folders, tmp_path):
    generator = np.random.default_rng(torture.seed)
    tries, refused = torture.amount(60, 2000), 0
    for number in range(tries):
        folder = shutil.copytree(folders[number % len(folders)], tmp_path / "m")
        done = damage(generator, folder)
        started, lines = time.process_time(), []
        try:
            use(folder)
        except UserError as error:
            refused += 1
            lines = str(error).splitlines()
        except Exception as error:
            pytest.fail(
                f"seed {torture.seed}, try {number}, {folder.name}, {done}: {type(error).__name__}:"
                f" {error}"
            )
        assert len(lines) <= 1, done
        assert time.process_time() - started < SECONDS, done
        shutil.rmtree(folder)
    torture.count("model folders damaged", tries)
    torture.count("model folders refused", refused)
