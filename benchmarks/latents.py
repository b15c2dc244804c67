"""Speed of the latent cache: encoding beside the bare VAE, and reading beside decoding JPEGs, in
one run.

    python benchmarks/latents.py --json latents.json
    python benchmarks/latents.py --variants

The bare VAE encodes crops that already lie in memory, in the same batches on the same device; the
pipeline reads a shard of JPEGs, decodes, crops, encodes, and writes. Both run in turn, and the
median over rounds counts. On a GPU the VAE has Stable Diffusion's shape, on a CPU a quarter of its
widths; weights are random. ``--variants`` measures the bare VAE in every form that
`parameters_latents.yml` offers; a first pass of each, which compiles, is timed apart.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from diffusers import AutoencoderKL

from common import alternate, environment, measure, noisy_jpeg, parser, rate, ratios, tell
from dcr.data.crops import base_crop
from dcr.data.shards import Sample, read_samples, write_shard
from dcr.latents import LatentCache, LatentOptions, MomentsEncoder, load_crops, plan_latents
from dcr.models.diffusion import Diffusion
from dcr.validation.declared import PLAIN
from diffusion_models import scaled_down_diffusion

ON_GPU = torch.cuda.is_available()
NUM_READS = 256
VARIANTS = {
    "float32": {},
    "float32, channels_last": {"channels_last": True},
    "float32, compile": {"compile": True},
    "bf16": {"mixed_precision": "bf16"},
    "bf16, channels_last": {"mixed_precision": "bf16", "channels_last": True},
    "bf16, channels_last, compile": {
        "mixed_precision": "bf16",
        "channels_last": True,
        "compile": True,
    },
    "fp16": {"mixed_precision": "fp16"},
    "fp16, channels_last": {"mixed_precision": "fp16", "channels_last": True},
}


def build_diffusion(folder: Path) -> Diffusion:
    """Return a model whose VAE has Stable Diffusion's shape, on a CPU with a quarter of its
    widths.
    """
    diffusion = scaled_down_diffusion(folder / "tokenizer")
    if ON_GPU:
        diffusion.vae = AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4, up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=[128, 256, 512, 512], layers_per_block=2, latent_channels=4,
        ).eval().requires_grad_(False)  # fmt: skip
    return diffusion


def write_images(folder: Path, count: int) -> tuple[str, pd.DataFrame, list[bytes]]:
    """Write one shard of JPEGs; return its path, the manifest and the files' bytes."""
    generator = np.random.default_rng(0)
    samples = [
        Sample(f"{number:09d}", noisy_jpeg(generator), "jpg", f"image {number}")
        for number in range(count)
    ]
    path = str(write_shard(folder / "shards", "00000", samples))
    rows = [
        {
            "shard": "00000",
            "source": PLAIN,
            "key": s.key,
            "caption": s.caption,
            "offset": s.offset,
            "sha256": hashlib.sha256(s.image).hexdigest(),
        }
        for s in read_samples(path)
    ]
    return path, pd.DataFrame(rows), [sample.image for sample in samples]


def measure_encoding(
    diffusion: Diffusion, shard: str, manifest: pd.DataFrame, options: LatentOptions, repeats: int
):
    """Return seconds of the bare VAE and of the pipeline in every round, and the cache."""
    plan = plan_latents(manifest, [shard], diffusion, options, {PLAIN: 1.0})
    crops = load_crops(plan.tasks["00000"], options).crops.flatten(0, 1)
    encoder, folder = MomentsEncoder(diffusion.vae, options), Path(shard).parents[1] / "latents"

    def encode_bare() -> None:
        for batch in crops.split(options.batch_size):
            encoder.finish(encoder.launch(batch), [""] * len(batch))

    def encode_with_cache() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        plan.write(folder)

    encode_bare()  # the first pass chooses algorithms and compiles
    return *alternate([encode_bare, encode_with_cache], repeats), LatentCache(folder)


def measure_reading(
    cache: LatentCache, images: list[bytes], hashes: list[str], options: LatentOptions, repeats: int
):
    """Return seconds of decoding with cropping, and of reading the cache in random order, in
    every round; both warm.
    """
    order = np.random.default_rng(0).integers(len(cache), size=NUM_READS).tolist()

    def decode() -> None:
        for position in order:
            with Image.open(io.BytesIO(images[position])) as image:
                base_crop(image, options.image_size, hashes[position], options.scale)

    def read() -> None:
        for position in order:
            cache[position]

    read()
    return alternate([decode, read], repeats)


def measure_variants(
    diffusion: Diffusion, crops: torch.Tensor, options: LatentOptions, repeats: int
) -> dict:
    """Return images per second of the bare VAE in each form, and the seconds of its first pass."""
    rates, keys = {}, [""] * len(crops)
    for name, changes in tqdm(VARIANTS.items(), desc="variants"):
        encoder = MomentsEncoder(diffusion.vae, replace(options, **changes))

        def encode(encoder: MomentsEncoder = encoder) -> None:
            encoder.encode(crops, keys)

        first = measure(encode)
        times = [measure(encode) for _ in range(repeats)]
        rates[name] = {
            "images_per_s": rate(times, len(crops)),
            "first_pass_s": round(first.wall, 1),
        }
        rates[name]["processor_s_per_image"] = round(
            min(s.processor for s in times) / len(crops), 3
        )
        tqdm.write(f"{name}: {rates[name]}")
    return rates


def measure_cache(
    diffusion: Diffusion, folder: Path, options: LatentOptions, count: int, repeats: int
) -> dict:
    """Return the figures of writing and reading a cache."""
    shard, manifest, images = write_images(folder, count)
    bare, whole, cache = measure_encoding(diffusion, shard, manifest, options, repeats)
    decode, read = measure_reading(cache, images, list(manifest["sha256"]), options, repeats)
    names = ("ratio", "ratio_of_processor_time"), ("read_ratio", "read_ratio_of_processor_time")
    return {
        **dict(zip(names[0], ratios(bare, whole), strict=True)),
        "images_per_s": rate(whole, count),
        "bare_vae_images_per_s": rate(bare, count),
        **dict(zip(names[1], ratios(decode, read), strict=True)),
        "decode_per_s": rate(decode, NUM_READS),
        "read_per_s": rate(read, NUM_READS),
    }


def main() -> None:
    """Measure, print and write the figures."""
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=1024 if ON_GPU else 16)
    arguments.add_argument("--batch-size", type=int, default=32 if ON_GPU else 4)
    arguments.add_argument("--image-size", type=int, default=224)
    arguments.add_argument("--num-workers", type=int, default=8 if ON_GPU else 0)
    arguments.add_argument("--mixed-precision", choices=["no", "bf16", "fp16"], default="no")
    arguments.add_argument(
        "--variants", action="store_true", help="measure precisions, layout and compilation instead"
    )
    chosen = arguments.parse_args()
    options = LatentOptions(
        image_size=chosen.image_size,
        scale=(0.9, 1.0),
        batch_size=chosen.batch_size,
        dtype="float32",
        mixed_precision=chosen.mixed_precision,
        num_workers=chosen.num_workers,
    )
    with tempfile.TemporaryDirectory() as name:
        diffusion = build_diffusion(Path(name))
        if chosen.variants:
            shape = (chosen.batch_size, chosen.image_size, chosen.image_size, 3)
            crops = torch.randint(256, shape, dtype=torch.uint8)
            figures = {"variants": measure_variants(diffusion, crops, options, chosen.repeats)}
        else:
            figures = measure_cache(diffusion, Path(name), options, chosen.images, chosen.repeats)
            figures |= {"images": chosen.images, "num_workers": chosen.num_workers}
    figures |= {
        "image_size": chosen.image_size,
        "batch_size": chosen.batch_size,
        "repeats": chosen.repeats,
    }
    tell(figures | environment("pillow", "diffusers"), chosen.json)


if __name__ == "__main__":
    main()
