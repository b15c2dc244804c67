"""What the second look at samples asks of the backbone's features."""

from __future__ import annotations

from pydantic import Field, PositiveInt

from dcr.parameters.section import Section
from dcr.validation.declared import Likeness


class LikenessParameters(Section):
    """From where on features are a reason against a sample, and how they are computed."""

    min_text_similarity: float | None = Field(ge=-1, le=1)
    min_duplicate_similarity: float | None = Field(ge=0, le=1)
    min_evaluation_similarity: float | None = Field(ge=0, le=1)
    max_neighbour_distance: float | None = Field(ge=0, le=2)
    num_neighbours: PositiveInt
    batch_size: PositiveInt
    num_workers: int = Field(ge=0)

    def limits(self) -> Likeness:
        """Return those of the values that findings depend on."""
        return Likeness(
            min_text_similarity=self.min_text_similarity,
            min_duplicate_similarity=self.min_duplicate_similarity,
            min_evaluation_similarity=self.min_evaluation_similarity,
            max_neighbour_distance=self.max_neighbour_distance,
            num_neighbours=self.num_neighbours,
        )
