"""Speed of reading patch tokens beside the bare image tower on tensors in memory, in one run.

    python benchmarks/segmentation.py --json segmentation.json

The bare tower gets normalised batches that already lie on its device. The evaluation reads a
segmentation set in Pascal VOC's layout: JPEGs and masks, decoded and resized by threads ahead of
the tower, which gives the patch tokens that LLaVA reads. Both run in turn, and the median over
rounds counts; weights are random. What follows from the tokens, learning and asking both readers,
is timed apart, as a share of the bare tower's time.
"""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from itertools import chain
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from common import alternate, environment, noisy_jpeg, parser, rate, ratios, tell
from dcr.data.benchmark_sets import SegmentationSet, open_set
from dcr.evaluation import Embedder
from dcr.evaluation.patch_tokens import read_tokens
from dcr.evaluation.segmentation import evaluate_segmentation
from dcr.models.backbones import Backbone
from evaluation import ON_GPU, build_backbone
from evaluation_options import quick_options
from voc_sets import png

NUM_CLASSES = 21


def write_set(folder: Path, num_images: int) -> SegmentationSet:
    """Write a set of noisy JPEGs with masks of blocks, half of them in each list, and open it."""
    generator = np.random.default_rng(0)
    for place in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (folder / place).mkdir(parents=True)
    names = [f"{number:06d}" for number in range(num_images)]
    for name in names:
        mask = np.kron(generator.integers(0, NUM_CLASSES, (8, 11)), np.ones((32, 31)))
        (folder / "JPEGImages" / f"{name}.jpg").write_bytes(noisy_jpeg(generator))
        (folder / "SegmentationClass" / f"{name}.png").write_bytes(png(mask))
    half = num_images // 2
    for split, own in (("train", names[:half]), ("val", names[half:])):
        text = "".join(f"{name}\n" for name in own)
        (folder / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(text)
    return open_set(folder)


def measure(backbone: Backbone, dataset: SegmentationSet, options: Namespace):
    """Return seconds of the bare tower, of reading tokens, and of the evaluation, every round."""
    images = [
        backbone.preprocess(sample.image)
        for sample in chain(dataset.samples("train"), dataset.samples("test"))
    ]
    batches = [
        batch.to(backbone.device)
        for batch in backbone.preprocessing.normalize(torch.stack(images)).split(options.batch)
    ]
    embedder = Embedder(backbone, options.batch, options.num_workers)

    @torch.inference_mode()
    def run_tower() -> None:
        for batch in batches:
            backbone.visual(batch).float().cpu().numpy()

    def read() -> None:
        for split in ("train", "test"):
            for _ in read_tokens(embedder, dataset.splits[split], split):
                pass

    def evaluate() -> None:
        list(evaluate_segmentation(embedder, dataset, quick_options(probe_max_iterations=100)))

    run_tower()  # the first pass chooses algorithms
    return alternate([run_tower, read, evaluate], options.repeats)


def main() -> None:
    """Measure, print and write the figures."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--model", default="ViT-L-14" if ON_GPU else "ViT-B-32", help="an open_clip architecture"
    )
    arguments.add_argument("--images", type=int, default=2048 if ON_GPU else 48)
    arguments.add_argument("--batch", type=int, default=32 if ON_GPU else 16)
    arguments.add_argument(
        "--num-workers", type=int, default=16 if ON_GPU else 1, help="threads that decode"
    )
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        backbone = build_backbone(Path(name), options.model)
        dataset = write_set(Path(name) / "set", options.images)
        bare, reading, whole = measure(backbone, dataset, options)
    figures = {
        **dict(zip(("ratio", "ratio_of_processor_time"), ratios(bare, reading), strict=True)),
        "images_per_s": rate(reading, options.images),
        "bare_tower_images_per_s": rate(bare, options.images),
        "evaluation_images_per_s": rate(whole, options.images),
        "evaluation_ratio": ratios(bare, whole)[0],
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
