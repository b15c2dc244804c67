"""What a recipe declares for validation, apart from the tables that it is about.

The parameters are made of it, which every command reads, so it imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass

PLAIN = "shards"
"""Name of the one source of a recipe that names its ``shards`` alone."""


@dataclass(frozen=True)
class Likeness:
    """From where on features are a reason; None where nobody asks.

    Attributes:
        min_text_similarity: cosine of image and caption under which they tell of different things.
        min_duplicate_similarity: cosine from which an image is like an earlier one.
        min_evaluation_similarity: cosine from which it is like one of an evaluation set.
        max_neighbour_distance: mean cosine distance to the nearest samples beyond which it is an
            outlier.
        num_neighbours: how many nearest that mean is of.
    """

    min_text_similarity: float | None
    min_duplicate_similarity: float | None
    min_evaluation_similarity: float | None
    max_neighbour_distance: float | None
    num_neighbours: int

    def asked(self) -> dict[str, float]:
        """Return the limits that are set, by name; none if nobody asks."""
        limits = {
            name: value
            for name, value in vars(self).items()
            if value is not None and name != "num_neighbours"
        }
        if "max_neighbour_distance" in limits:
            limits["num_neighbours"] = self.num_neighbours
        return limits
