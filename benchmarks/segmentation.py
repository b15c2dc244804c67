"""Speed of reading patch tokens beside the bare image tower on tensors in memory, in one run.

    python benchmarks/segmentation.py --json segmentation.json

The bare tower gets normalised batches that already lie on its device. The evaluation reads a
segmentation set in Pascal VOC's layout: JPEGs and masks, decoded and resized by threads ahead of
the tower, which gives the patch tokens that LLaVA reads. Both run in turn, and the median over
rounds counts; weights are random. What follows from the tokens, learning and asking both readers,
is timed apart, as a share of the bare tower's time.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from itertools import chain
from pathlib import Path

import numpy as np

from common import alternate, noisy_jpeg, rate, ratios
from dcr.data.benchmark_sets import SegmentationSet, open_set
from dcr.evaluation import Embedder
from dcr.evaluation.patch_tokens import read_tokens
from dcr.evaluation.segmentation import evaluate_segmentation
from dcr.models.backbones import Backbone
from evaluation_options import quick_options
from towers import bare_tower, build_backbone, report, tower_parser
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
    samples = chain(dataset.samples("train"), dataset.samples("test"))
    run_tower = bare_tower(backbone, (sample.image for sample in samples), options.batch)
    embedder = Embedder(backbone, options.batch, options.num_workers)

    def read() -> None:
        for split in ("train", "test"):
            for _ in read_tokens(embedder, dataset.splits[split], split):
                pass

    def evaluate() -> None:
        list(evaluate_segmentation(embedder, dataset, quick_options(probe_max_iterations=100)))

    return alternate([run_tower, read, evaluate], options.repeats)


def main() -> None:
    """Measure, print and write the figures."""
    options = tower_parser(__doc__, num_images=2048, batch_size=32).parse_args()
    with tempfile.TemporaryDirectory() as name:
        backbone = build_backbone(Path(name), options.model)
        dataset = write_set(Path(name) / "set", options.images)
        bare, reading, whole = measure(backbone, dataset, options)
    further = {
        "evaluation_images_per_s": rate(whole, options.images),
        "evaluation_ratio": ratios(bare, whole)[0],
    }
    report(backbone, bare, reading, further, options)


if __name__ == "__main__":
    main()
