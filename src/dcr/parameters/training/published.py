"""What DCR's published code does differently: the parts that a recipe takes in place of ours."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator

Part = Literal[
    "views", "normalization", "prompt_mask", "noise", "target", "loss", "sampling", "reduction"
]
PARTS: tuple[Part, ...] = get_args(Part)
VIEWS = {"horizontal_flip": 0.5, "vertical_flip": 0.5, "ratio_min": 0.9}
"""The strengths of the published views that are not the recipe's, taken with ``published: all``."""


def _expand(value: Any) -> Any:
    if isinstance(value, str | bool):
        if value == "all":
            return list(PARTS)
        raise ValueError(f"must be all, or a list of {', '.join(PARTS)}")
    return value


Published = Annotated[list[Part], BeforeValidator(_expand)]
"""Which parts are taken; ``all`` stands for every one."""
