"""What follows stage 2: how images and texts are brought together again."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, PositiveInt

from dcr.parameters.section import Section

Ridge = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class AlignmentParameters(Section):
    """How images and texts are brought together again after stage 2."""

    USED: ClassVar[dict[str, tuple[str, ...]]] = {
        "none": (),
        "image": ("seed", "max_images", "ridges"),
        "text": (
            *(
                "seed",
                "max_images",
                "batch_size",
                "learning_rate",
                "weight_decay",
                "steps",
                "evaluate_every_steps",
            ),
            *("closed_form_share", "ridges"),
        ),
        "blend": ("seed", "max_images", "ridges", "shares", "batch_size"),
    }
    """What a form's result depends on; everything else changes it by rounding at most."""

    form: Literal["none", "image", "text", "blend"]
    seed: int
    max_images: int = Field(ge=0)
    embedding_batch_size: PositiveInt
    num_workers: int = Field(ge=0)
    ridges: list[Ridge] = Field(min_length=1)
    shares: list[Share] = Field(min_length=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    steps: PositiveInt
    evaluate_every_steps: PositiveInt
    closed_form_share: Share

    def course(self) -> dict[str, Any]:
        """Return the parameters that the result depends on, ``form`` first."""
        unused = {"ridges"} if self.form == "text" and not self.closed_form_share else set()
        return {
            name: getattr(self, name)
            for name in ("form", *self.USED[self.form])
            if name not in unused
        }
