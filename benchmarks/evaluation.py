"""Speed of feature extraction beside the bare image tower on tensors in memory, in one run.

    python benchmarks/evaluation.py --json evaluation.json

The bare tower gets normalised batches that already lie on its device. The evaluation reads a set in
CLIP_benchmark's layout: tars of JPEGs, decoded, resized, normalised, embedded and written to the
cache, which is empty each time. Both run in turn, and the median over rounds counts; weights are
random. Threads decode ahead of the tower: where it has a core or a device of its own, decoding
costs it nothing; on a single core the two share it, and the ratio is the tower's share of the work.
A second evaluation, which finds its embeddings in the cache, is timed too.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import open_clip
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from common import alternate, environment, noisy_jpeg, parser, rate, ratios, tell
from dcr.data.benchmark_sets import ClassificationSet, open_set
from dcr.data.shards import write_tar
from dcr.devices import resolve_device
from dcr.evaluation import Embedder, EvaluationCache
from dcr.models.backbones import Backbone, load_backbone
from models import tiny_open_clip

ON_GPU = torch.cuda.is_available()


def build_backbone(folder: Path, model: str) -> Backbone:
    """Return an open_clip model of a known architecture with random weights."""
    config = open_clip.get_model_config(model)
    if config is None:
        raise SystemExit(f"open_clip knows no model {model!r}")
    return load_backbone(
        f"local-dir:{tiny_open_clip(folder / 'clip', config)}", resolve_device("auto")
    )


def write_set(folder: Path, num_images: int, images_per_shard: int = 1000) -> ClassificationSet:
    """Write a classification set of noisy JPEGs and open it."""
    generator, place = np.random.default_rng(0), folder / "set"
    shards = range(0, num_images, images_per_shard)
    for number, start in enumerate(shards):
        members = []
        for key in range(start, min(num_images, start + images_per_shard)):
            members += [
                (f"{key:07d}.jpg", noisy_jpeg(generator)),
                (f"{key:07d}.cls", str(key % 2).encode()),
            ]
        write_tar(place / "test" / f"{number}.tar", members)
    (place / "test" / "nshards.txt").write_text(str(len(shards)))
    (place / "classnames.txt").write_text("one\ntwo\n")
    (place / "zeroshot_classification_templates.txt").write_text("a photo of {c}\n")
    return open_set(place)


def measure_extraction(
    backbone: Backbone, dataset: ClassificationSet, folder: Path, options: Namespace
):
    """Return seconds of the bare tower, of the extraction, and of a second one, in every round."""
    images = torch.stack([backbone.preprocess(sample.image) for sample in dataset.samples("test")])
    batches = [
        batch.to(backbone.device)
        for batch in backbone.preprocessing.normalize(images).split(options.batch)
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
    return alternate([run_tower, extract_anew, extract], options.repeats)


def main() -> None:
    """Measure, print and write the figures."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--model", default="ViT-L-14" if ON_GPU else "ViT-B-32", help="an open_clip architecture"
    )
    arguments.add_argument("--images", type=int, default=4096 if ON_GPU else 48)
    arguments.add_argument("--batch", type=int, default=256 if ON_GPU else 16)
    arguments.add_argument(
        "--num-workers", type=int, default=16 if ON_GPU else 1, help="threads that decode"
    )
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        backbone = build_backbone(Path(name), options.model)
        dataset = write_set(Path(name), options.images)
        bare, whole, cached = measure_extraction(backbone, dataset, Path(name) / "cache", options)
    figures = {
        **dict(zip(("ratio", "ratio_of_processor_time"), ratios(bare, whole), strict=True)),
        "images_per_s": rate(whole, options.images),
        "bare_tower_images_per_s": rate(bare, options.images),
        "from_cache_images_per_s": rate(cached, options.images),
    }
    figures |= {
        name: getattr(options, name)
        for name in ("model", "images", "batch", "num_workers", "repeats")
    }
    tell(
        figures | {"image_size": backbone.image_size} | environment("pillow", "open_clip_torch"),
        options.json,
    )


if __name__ == "__main__":
    main()
