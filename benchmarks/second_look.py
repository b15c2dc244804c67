"""Speed of pipeline `likeness`'s features beside the bare image tower on tensors in memory, in one
run.

    python benchmarks/second_look.py --json second_look.json

The bare tower gets normalised batches that already lie on its device. The second look reads a shard
of JPEGs, compares each with its hash, decodes, resizes, embeds and writes the table of features,
which is not there each time; weights are hashed in every run, too. Captions are not embedded, as
the bare tower has none. Both run in turn, and the median over rounds counts; weights are random.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from common import alternate, noisy_jpeg
from dcr.data.decoding import decode_rgb
from dcr.data.shards import Sample, read_samples, write_shard
from dcr.evaluation import Embedder
from dcr.likeness import plan_features
from dcr.models.backbones import Backbone
from dcr.validation.measuring import plan_measuring
from dcr.validation.tables import SampleTables, write_tables
from dcr.validation.workers import Workers
from towers import bare_tower, build_backbone, report, tower_parser
from validation import LIMITS


def write_samples(folder: Path, num_images: int) -> dict[str, str]:
    """Write a shard of noisy JPEGs, measure it, and return path to name."""
    generator = np.random.default_rng(0)
    samples = (
        Sample(f"{number:07d}", noisy_jpeg(generator), "jpg", "a picture")
        for number in range(num_images)
    )
    shards = {str(write_shard(folder / "shards", "00000", samples)): "00000"}
    write_tables(folder / "samples", plan_measuring(shards, LIMITS, Workers("threading", 1)))
    return shards


def second_look(
    backbone: Backbone, shards: dict[str, str], folder: Path, batch_size: int, num_workers: int
) -> Callable[[], None]:
    """Return what embeds the samples anew and keeps their features."""
    samples = SampleTables(folder / "samples")

    def run() -> None:
        shutil.rmtree(folder / "features", ignore_errors=True)
        plan = plan_features(shards, samples, Embedder(backbone, batch_size, num_workers), False)
        write_tables(folder / "features", plan)

    return run


def main() -> None:
    """Measure, print and write the figures."""
    options = tower_parser(__doc__, num_images=4096, batch_size=256).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        backbone = build_backbone(folder, options.model)
        shards = write_samples(folder, options.images)
        images = [decode_rgb(sample.image) for path in shards for sample in read_samples(path)]
        run_tower = bare_tower(backbone, images, options.batch)
        look = second_look(backbone, shards, folder, options.batch, options.num_workers)
        bare, whole = alternate([run_tower, look], options.repeats)
    report(backbone, bare, whole, {}, options)


if __name__ == "__main__":
    main()
