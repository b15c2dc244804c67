"""Speed of the latent cache: encoding beside the bare VAE, and reading beside decoding JPEGs, in one run.

    python benchmarks/latents.py --json latents.json

The bare VAE encodes crops that already lie in memory, in the same batches on the same device; the pipeline reads a
shard of JPEGs, decodes, crops, encodes, and writes. Runs alternate and medians are compared. The images are 341 x 256
pixels, the shape in which img2dataset stores photographs for 224 px models: larger ones take longer to decode. On a
GPU the VAE has Stable Diffusion's shape, on a CPU a quarter of its widths; weights are random.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import PIL
import torch
from PIL import Image

from dcr.diffusion import Diffusion
from dcr.latents import LatentCache, LatentOptions, MomentsEncoder, load_crops, pick_device, plan_latents
from dcr.shards import Sample, read_samples, write_shard
from dcr.transforms import base_crop

VARIANTS = {
    "float32": {},
    "float32, channels_last": {"channels_last": True},
    "bf16": {"mixed_precision": "bf16"},
    "bf16, channels_last": {"mixed_precision": "bf16", "channels_last": True},
    "bf16, channels_last, compile": {"mixed_precision": "bf16", "channels_last": True, "compile": True},
    "fp16, channels_last": {"mixed_precision": "fp16", "channels_last": True},
}


def build_diffusion(folder: Path) -> Diffusion:
    """Return a model whose VAE has Stable Diffusion's shape, on a CPU with a quarter of its widths."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from diffusers import AutoencoderKL

    from diffusion_models import scaled_down_diffusion

    diffusion = scaled_down_diffusion(folder / "tokenizer")
    if torch.cuda.is_available():
        diffusion.vae = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=4,
        ).eval().requires_grad_(False)  # fmt: skip
    return diffusion


def write_images(folder: Path, count: int) -> tuple[str, pd.DataFrame, list[bytes]]:
    """Write one shard of JPEGs; return its path, the manifest and the files' bytes."""
    generator, samples = np.random.default_rng(0), []
    for number in range(count):
        small = Image.fromarray(generator.integers(0, 256, (32, 43, 3), dtype=np.uint8))
        pixels = np.asarray(small.resize((341, 256), Image.Resampling.BICUBIC)).astype(int)
        buffer = io.BytesIO()
        noisy = (pixels + generator.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(buffer, "JPEG", quality=95)  # img2dataset's quality
        samples.append(Sample(f"{number:09d}", buffer.getvalue(), "jpg", f"image {number}"))
    path = str(write_shard(folder / "shards", "00000", samples))
    rows = [
        {"shard": "00000", "key": s.key, "offset": s.offset, "sha256": hashlib.sha256(s.image).hexdigest()}
        for s in read_samples(path)
    ]
    return path, pd.DataFrame(rows), [sample.image for sample in samples]


def measure(function: Callable[[], object]) -> float:
    """Return the seconds a call takes, until the device is done."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure_encoding(diffusion: Diffusion, shard: str, manifest: pd.DataFrame, options: LatentOptions, repeats: int):
    """Return images per second of the bare VAE and of the pipeline, medians of alternating runs."""
    plan = plan_latents(manifest, [shard], diffusion, options)
    crops = load_crops(plan.tasks["00000"], options).crops.flatten(0, 1)
    encoder, folder = MomentsEncoder(diffusion.vae, options, pick_device()), Path(shard).parents[1] / "latents"

    def encode_bare() -> None:
        for batch in crops.split(options.batch_size):
            encoder.finish(encoder.launch(batch), [""] * len(batch))

    def encode_with_cache() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        plan.write(folder)

    encode_bare()  # the first pass chooses algorithms and compiles
    times = [(measure(encode_bare), measure(encode_with_cache)) for _ in range(repeats)]
    return [len(crops) / statistics.median(column) for column in zip(*times, strict=True)], LatentCache(folder)


def measure_reading(cache: LatentCache, images: list[bytes], hashes: list[str], options: LatentOptions, repeats: int):
    """Return seconds per sample of decoding with cropping, and of reading the cache in random order; both warm."""
    order = np.random.default_rng(0).permutation(len(cache)).tolist()

    def decode() -> None:
        for position in order:
            with Image.open(io.BytesIO(images[position])) as image:
                base_crop(image, options.image_size, hashes[position], options.scale)

    def read() -> None:
        for position in order:
            cache[position]

    read()
    times = [(measure(decode), measure(read)) for _ in range(repeats)]
    return [statistics.median(column) / len(order) for column in zip(*times, strict=True)]


def measure_variants(diffusion: Diffusion, crops: torch.Tensor, options: LatentOptions, repeats: int) -> dict:
    """Return images per second of the bare VAE for each option of speed."""
    rates, keys = {}, [""] * len(crops)
    for name, changes in VARIANTS.items():
        encoder = MomentsEncoder(diffusion.vae, replace(options, **changes), pick_device())
        encoder.encode(crops, keys)
        seconds = statistics.median(measure(lambda e=encoder: e.encode(crops, keys)) for _ in range(repeats))
        rates[name] = round(len(crops) / seconds, 2)
    return rates


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--num-workers", type=int, default=0)
    parser.add_argument("--mixed-precision", choices=["no", "bf16", "fp16"], default="no")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variants", action="store_true", help="also measure channels_last, bf16, fp16 and compile")
    arguments = parser.parse_args()
    options = LatentOptions(
        image_size=arguments.image_size, scale=(0.9, 1.0), batch_size=arguments.batch_size, dtype="float32",
        mixed_precision=arguments.mixed_precision, num_workers=arguments.num_workers,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        diffusion = build_diffusion(Path(name))
        shard, manifest, images = write_images(Path(name), arguments.images)
        (bare, cached), cache = measure_encoding(diffusion, shard, manifest, options, arguments.repeats)
        decode, read = measure_reading(cache, images, list(manifest["sha256"]), options, arguments.repeats)
        crops = torch.from_numpy(np.stack([cache[i]["crop"] for i in range(arguments.batch_size)]))
        variants = measure_variants(diffusion, crops, options, arguments.repeats) if arguments.variants else {}
    figures = {
        "ratio": round(cached / bare, 3), "images_per_s": round(cached, 2), "bare_vae_images_per_s": round(bare, 2),
        "read_ratio": round(decode / read, 1), "decode_us": round(decode * 1e6, 1), "read_us": round(read * 1e6, 1),
        "image_size": options.image_size, "batch_size": options.batch_size, "num_workers": options.num_workers,
        "images": arguments.images, "repeats": arguments.repeats, "bare_vae_variants_images_per_s": variants,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "cores": os.cpu_count(), "threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "pillow": PIL.__version__},
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
