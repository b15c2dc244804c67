"""Encoders on benchmark sets: each image embedded once, each score with its interval and its items.

P-Ability is read by ``mmvp_vlm`` and ``probes``, D-Ability by ``clustering``, what was lost by
``zero_shot``, ``retrieval``, ``linear_probe`` and ``text_alignment``, what moved by
``feature_drift`` and its like.
"""

from dcr.data.benchmark_sets import NamedSet
from dcr.evaluation.cache import EvaluationCache
from dcr.evaluation.embedding import Embedder, embed_images, embed_texts
from dcr.evaluation.failures import Failure, describe_failures
from dcr.evaluation.parallel import embed_parts
from dcr.evaluation.results import EvaluationOptions, Result
from dcr.evaluation.running import evaluate_encoder, evaluate_encoders

__all__ = [
    "Embedder",
    "EvaluationCache",
    "EvaluationOptions",
    "Failure",
    "NamedSet",
    "Result",
    "describe_failures",
    "embed_images",
    "embed_parts",
    "embed_texts",
    "evaluate_encoder",
    "evaluate_encoders",
]
