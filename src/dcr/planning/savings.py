"""What a recipe could set to be cheaper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dcr.parameters.section import merge
from dcr.training.runs import all_runs

if TYPE_CHECKING:
    from dcr.parameters import TrainingParameters

Alternative = tuple[str, str, "TrainingParameters"]
"""A setting as ``--params`` takes it, what it changes beside the cost, and the recipe with it."""

_EXACT = "same result but for rounding"
_SAVINGS = ("constant_prompt", "shared_prefix", "folded_upsampling")  # the last goes with all


def alternatives(p: TrainingParameters) -> Iterator[Alternative]:
    """Yield what would take less time or memory than the recipe's own setting.

    Args:
        p: section `training` of the recipe.
    """
    contrasts = any(run.objective == "dcr" for run in all_runs(p).values())
    execution = p.execution
    if p.mixed_precision == "no":
        yield _with(p, "bf16 on tensor cores; losses stay float32", mixed_precision="bf16")
    if not execution.cache_features:
        yield _with(p, _EXACT, execution={"cache_features": True})
    savings = _SAVINGS[-1:] if execution.gradient_checkpointing == "all" else _SAVINGS
    if not all(getattr(execution, name) for name in savings):
        yield _with(p, _EXACT, execution=dict.fromkeys(savings, True))
    if execution.gradient_checkpointing != "auto":
        other = "tower" if execution.gradient_checkpointing == "none" else "none"
        remark = f"{_EXACT}; {'less memory, more time' if other == 'tower' else 'more memory'}"
        yield _with(p, remark, execution={"gradient_checkpointing": other})
    if execution.rows_per_chunk > 1:
        yield _with(p, f"{_EXACT}; least memory, small kernels", execution={"rows_per_chunk": 1})
    if contrasts and not p.batches.negatives_count:
        count = max(1, p.stage2.train_batch_size // 4)
        yield _with(p, "an approximation of the contrast", batches={"negatives_count": count})
    if p.stage1.loss == "dcr":
        yield _with(p, "stage 1 by the noise error", stage1={"loss": "reconstruction"})
    if p.baselines:
        yield _with(p, "no methods to compare with", baselines=[])
    if p.stage2_seeds:
        yield _with(p, "one seed, and no spread over seeds", stage2_seeds=[])


def _with(p: TrainingParameters, remark: str, **changes: Any) -> Alternative:
    """Return an alternative with ``changes`` by section and name."""
    setting = ",".join(
        f"training.{section}.{name}={_shown(value)}"
        if name
        else f"training.{section}={_shown(value)}"
        for section, values in changes.items()
        for name, value in (values if isinstance(values, dict) else {"": values}).items()
    )
    return setting, remark, type(p).model_validate(merge(p.model_dump(), changes))


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
