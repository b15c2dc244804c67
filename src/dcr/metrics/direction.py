"""Which benchmarks have a better end."""

from __future__ import annotations

# Cosines and distances: neither end is the better one.
UNDIRECTED = (
    "text_alignment",
    "mmvp_alignment",
    "feature_geometry",
    "feature_drift",
    "retrieval_drift",
    "mmvp_drift",
    "caption_alignment",
    "caption_drift",
)


def is_share(benchmark: str) -> bool:
    """Return whether a benchmark's scores are fractions in [0, 1] of which more is better.

    Args:
        benchmark: its name, or ``<benchmark>/<set>``.
    """
    return benchmark.partition("/")[0] not in UNDIRECTED
