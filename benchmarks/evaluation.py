"""Speed of feature extraction beside the bare image tower on tensors in memory, in one run.

    python benchmarks/evaluation.py --json evaluation.json

The bare tower gets normalised batches that already lie on its device. The evaluation reads a set in CLIP_benchmark's
layout: tars of JPEGs, decoded, resized, normalised, embedded and written to the cache, which is empty each time. Runs
alternate and medians are compared. The images are 341 x 256 pixels, larger ones take longer to decode; weights are
random. A second evaluation, which finds its embeddings in the cache, is timed too.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path

import numpy as np
import open_clip
import PIL
import torch
from PIL import Image

from dcr.backbones import Backbone, load_backbone
from dcr.benchmark_sets import ClassificationSet, open_set
from dcr.devices import resolve_device
from dcr.evaluation import Embedder, EvaluationCache
from dcr.shards import write_tar


def build_backbone(folder: Path, model: str) -> Backbone:
    """Return an open_clip model of a known architecture with random weights."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from models import tiny_open_clip

    config = open_clip.get_model_config(model)
    if config is None:
        raise SystemExit(f"open_clip knows no model {model!r}")
    return load_backbone(f"local-dir:{tiny_open_clip(folder / 'clip', config)}", resolve_device("auto"))


def write_set(folder: Path, num_images: int, images_per_shard: int = 1000) -> ClassificationSet:
    """Write a classification set of noisy JPEGs and open it."""
    generator, place = np.random.default_rng(0), folder / "set"
    shards = range(0, num_images, images_per_shard)
    for number, start in enumerate(shards):
        keys = range(start, min(num_images, start + images_per_shard))
        members = [(f"{key:07d}.{name}", data) for key in keys for name, data in _draw(generator, key).items()]
        write_tar(place / "test" / f"{number}.tar", members)
    (place / "test" / "nshards.txt").write_text(str(len(shards)))
    (place / "classnames.txt").write_text("one\ntwo\n")
    (place / "zeroshot_classification_templates.txt").write_text("a photo of {c}\n")
    return open_set(place)


def _draw(generator: np.random.Generator, key: int) -> dict[str, bytes]:
    small = Image.fromarray(generator.integers(0, 256, (32, 43, 3), dtype=np.uint8))
    pixels = np.asarray(small.resize((341, 256), Image.Resampling.BICUBIC)).astype(int)
    buffer = io.BytesIO()
    noisy = (pixels + generator.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(buffer, "JPEG", quality=95)
    return {"jpg": buffer.getvalue(), "cls": str(key % 2).encode()}


def measure(function: Callable[[], object]) -> float:
    """Return the seconds a call takes, until the device is done."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure_extraction(backbone: Backbone, dataset: ClassificationSet, folder: Path, options: argparse.Namespace):
    """Return images per second of the bare tower, of the extraction, and of a second one; medians."""
    images = [backbone.preprocess(sample.image) for sample in dataset.samples("test")]
    batches = [
        b.to(backbone.device) for b in backbone.preprocessing.normalize(torch.stack(images)).split(options.batch)
    ]
    embedder = Embedder(backbone, options.batch, options.num_workers, EvaluationCache(folder))
    embedder.fingerprint  # noqa: B018  hashing the weights is done once an encoder, not once a set

    @torch.inference_mode()
    def run_tower() -> None:
        for batch in batches:
            backbone.visual(batch).float().cpu().numpy()

    def extract() -> None:
        embedder.split(dataset.splits["test"], "images")

    def extract_anew() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        extract()

    run_tower()  # the first pass chooses algorithms
    times = [(measure(run_tower), measure(extract_anew), measure(extract)) for _ in range(options.repeats)]
    return [len(images) / statistics.median(column) for column in zip(*times, strict=True)]


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--model", default="ViT-B-32", help="an open_clip architecture")
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--num-workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        backbone = build_backbone(Path(name), options.model)
        dataset = write_set(Path(name), options.images)
        bare, extracted, cached = measure_extraction(backbone, dataset, Path(name) / "cache", options)
    figures = {
        "ratio": round(extracted / bare, 3), "images_per_s": round(extracted, 2),
        "bare_tower_images_per_s": round(bare, 2), "from_cache_images_per_s": round(cached, 1),
        "model": options.model, "image_size": backbone.image_size, "images": options.images, "batch": options.batch,
        "num_workers": options.num_workers, "repeats": options.repeats,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "CPU",
        "cores": os.cpu_count(), "threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1),
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "pillow": PIL.__version__,
            "open_clip": open_clip.__version__,
        },
    }  # fmt: skip
    print(json.dumps(figures, indent=1))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
