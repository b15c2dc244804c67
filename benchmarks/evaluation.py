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
import tempfile
from argparse import Namespace
from pathlib import Path

import numpy as np

from common import alternate, noisy_jpeg, rate
from dcr.data.benchmark_sets import ClassificationSet, open_set
from dcr.data.shards import write_tar
from dcr.evaluation import Embedder, EvaluationCache
from dcr.models.backbones import Backbone
from towers import bare_tower, build_backbone, report, tower_parser


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
    images = (sample.image for sample in dataset.samples("test"))
    run_tower = bare_tower(backbone, images, options.batch)
    embedder = Embedder(backbone, options.batch, options.num_workers, EvaluationCache(folder))
    embedder.fingerprint  # noqa: B018  hashing the weights is done once an encoder, not once a set

    def extract() -> None:
        embedder.split(dataset.splits["test"], "images")

    def extract_anew() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        extract()

    return alternate([run_tower, extract_anew, extract], options.repeats)


def main() -> None:
    """Measure, print and write the figures."""
    options = tower_parser(__doc__, num_images=4096, batch_size=256).parse_args()
    with tempfile.TemporaryDirectory() as name:
        backbone = build_backbone(Path(name), options.model)
        dataset = write_set(Path(name), options.images)
        bare, whole, cached = measure_extraction(backbone, dataset, Path(name) / "cache", options)
    further = {"from_cache_images_per_s": rate(cached, options.images)}
    report(backbone, bare, whole, further, options)


if __name__ == "__main__":
    main()
