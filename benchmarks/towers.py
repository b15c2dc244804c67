"""What benchmarks of feature extraction share: a model of random weights, and its bare tower."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch

from common import environment, parser, rate, ratios, tell
from dcr.devices import resolve_device
from dcr.models.backbones import Backbone, load_backbone
from models import tiny_open_clip

ON_GPU = torch.cuda.is_available()


def tower_parser(text: str, num_images: int, batch_size: int) -> ArgumentParser:
    """Return the options of a benchmark beside a bare tower.

    Args:
        text: the benchmark's docstring.
        num_images, batch_size: where a GPU is; on a CPU they are 48 and 16.
    """
    found = parser(text)
    found.add_argument(
        "--model", default="ViT-L-14" if ON_GPU else "ViT-B-32", help="an open_clip architecture"
    )
    found.add_argument("--images", type=int, default=num_images if ON_GPU else 48)
    found.add_argument("--batch", type=int, default=batch_size if ON_GPU else 16)
    found.add_argument(
        "--num-workers", type=int, default=16 if ON_GPU else 1, help="threads that decode"
    )
    return found


def build_backbone(folder: Path, model: str) -> Backbone:
    """Return an open_clip model of a known architecture with random weights."""
    config = open_clip.get_model_config(model)
    if config is None:
        raise SystemExit(f"open_clip knows no model {model!r}")
    return load_backbone(
        f"local-dir:{tiny_open_clip(folder / 'clip', config)}", resolve_device("auto")
    )


def bare_tower(backbone: Backbone, images: Iterable[Any], batch_size: int) -> Callable[[], None]:
    """Return what runs the tower on batches that lie normalised on its device, run once already.

    Args:
        backbone: of the tower.
        images: of PIL.
        batch_size: of a batch.
    """
    pixels = torch.stack([backbone.preprocess(image) for image in images])
    batches = [
        batch.to(backbone.device)
        for batch in backbone.preprocessing.normalize(pixels).split(batch_size)
    ]

    @torch.inference_mode()
    def run() -> None:
        for batch in batches:
            backbone.visual(batch).float().cpu().numpy()

    run()  # the first pass chooses algorithms
    return run


def report(
    backbone: Backbone, bare: Sequence[Any], whole: Sequence[Any], further: dict[str, Any],
    options: Namespace,
) -> None:  # fmt: skip
    """Print and write what was measured beside the bare tower, and on what.

    Args:
        backbone: that was measured.
        bare, whole: times of the tower and of what was measured, in every round.
        further: figures of the benchmark's own.
        options: of `tower_parser`.
    """
    asked = ("model", "images", "batch", "num_workers", "repeats")
    figures = {
        **dict(zip(("ratio", "ratio_of_processor_time"), ratios(bare, whole), strict=True)),
        "images_per_s": rate(whole, options.images),
        "bare_tower_images_per_s": rate(bare, options.images),
        **further,
        **{name: getattr(options, name) for name in asked},
        "image_size": backbone.image_size,
        **environment("pillow", "open_clip_torch"),
    }
    tell(figures, options.json)
