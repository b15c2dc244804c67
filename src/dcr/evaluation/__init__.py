"""One encoder on benchmark sets: each image embedded once, each score with its interval and its items.

P-Ability is read by ``mmvp_vlm`` and ``probes``, D-Ability by ``clustering``, what was lost by ``zero_shot``,
``retrieval``, ``linear_probe`` and ``text_alignment``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

from dcr.benchmark_sets import BenchmarkSet, MMVPSet, RetrievalSet
from dcr.evaluation.classification import evaluate_classification
from dcr.evaluation.embedding import embed_images, embed_texts
from dcr.evaluation.mmvp_vlm import evaluate_mmvp
from dcr.evaluation.results import EvaluationOptions, Result
from dcr.evaluation.retrieval import evaluate_retrieval

if TYPE_CHECKING:
    from dcr.backbones import Backbone


__all__ = [
    "EvaluationOptions",
    "Result",
    "embed_images",
    "embed_texts",
    "evaluate_classification",
    "evaluate_encoder",
    "evaluate_mmvp",
    "evaluate_retrieval",
]


def evaluate_encoder(
    backbone: Backbone, sets: Sequence[BenchmarkSet], options: EvaluationOptions, description: str = "encoder"
) -> list[Result]:
    """Evaluate one encoder on every set; images and texts go through its own two towers."""
    results = []
    for benchmark_set in tqdm(sets, desc=f"evaluate {description}", unit="set"):
        if isinstance(benchmark_set, MMVPSet):
            results.append(evaluate_mmvp(backbone, benchmark_set, options))
        elif isinstance(benchmark_set, RetrievalSet):
            results.extend(evaluate_retrieval(backbone, benchmark_set, options))
        else:
            results.extend(evaluate_classification(backbone, benchmark_set, options))
    return results
