"""A run's parameters to the options that the trainer's parts take."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from dcr.data.views import ViewAugmentation
from dcr.errors import UserError
from dcr.losses.feature_signal import FeatureSignal
from dcr.losses.signal import Signal
from dcr.losses.signals import FEATURE_SIGNALS, SIGNALS
from dcr.positives.neighbours import Resampler
from dcr.published.views import PublishedViews
from dcr.training.batches import Augmentation, BatchOptions
from dcr.training.contrast import ContrastOptions
from dcr.training.model import LoraOptions, TuningOptions
from dcr.training.monitoring.monitor import MonitorOptions
from dcr.training.objectives import ObjectiveOptions
from dcr.training.run import RunOptions
from dcr.training.runs import STAGE1, Run

if TYPE_CHECKING:
    from dcr.models.backbones import Preprocessing
    from dcr.parameters import TrainingParameters

_STAGE1_OFF = {"reconstruction_share": 0.0, "base_embedding_weight": 0.0}  # levers of stage 2 alone


def run_options(run: Run) -> RunOptions:
    """Return the numbers that the trainer takes for ``run``, those of its own stage among them."""
    p = run.parameters
    stage = STAGE1 if run.method == STAGE1 else "stage2"
    own = {
        "name": run.name,
        "objective": run.objective,
        "max_train_steps": run.max_train_steps,
        "train_batch_size": getattr(p, f"{stage}_train_batch_size"),
        "learning_rate": getattr(p, f"{stage}_learning_rate"),
        "learning_rate_decay": getattr(p, f"{stage}_learning_rate_decay"),
        "projector_learning_rate": p.stage1_learning_rate,
        "published_reduction": p.published_reduction and run.method == STAGE1,
    }
    if run.method == STAGE1:
        own["sharding"] = (
            # the projector is small, and the tower has neither gradients nor optimizer state
            "none"
        )
    shared = {f.name for f in fields(RunOptions)} - own.keys()
    return RunOptions(**own, **{key: getattr(p, key) for key in shared})


def objective_options(run: Run) -> ObjectiveOptions:
    """Return the numbers that the methods share, for ``run``; in stage 1 the levers of stage 2
    are off.
    """
    own = {
        f.name: getattr(run.parameters, f.name)
        for f in fields(ObjectiveOptions)
        if f.name != "contrast"
    }
    off = _STAGE1_OFF if run.method == STAGE1 else {}
    return ObjectiveOptions(**own | off, contrast=contrast_options(run))


def contrast_options(run: Run) -> ContrastOptions:
    """Return a run's signal and source of positives; neighbours and made positives are for stage 2
    alone.

    Raises:
        UserError: the method, or another parameter, does not go with them.
    """
    p = run.parameters
    objective = run.objective
    stage2 = run.method != STAGE1
    if objective == "reconstruction":
        return ContrastOptions()
    asked = p.positives if stage2 else "augmentation"
    options = ContrastOptions(
        signal=build_signal(p) if p.signal != "infonce" else None,
        resampler=(
            Resampler(p.clip_neighbour_rule, p.clip_neighbour_share)
            if asked == "clip_neighbour"
            else None
        ),
        synthetic_weight=p.synthetic_weight if asked == "synthetic" else 0.0,
        diagnostics=p.contrast_diagnostics and stage2,
    )
    _check_contrast(p, objective, options)
    return options


def build_signal(parameters: TrainingParameters) -> Signal | FeatureSignal:
    """Return the recipe's signal with its own numbers; for infonce there are none but the
    temperature.

    Args:
        parameters: of the recipe; ``{signal}_*`` are the signal's numbers.

    Raises:
        UserError: a number is out of the signal's range.
    """
    name = parameters.signal
    kind = (SIGNALS | FEATURE_SIGNALS)[name]
    if name == "infonce":
        return kind(parameters.temperature)
    try:
        return kind(**{f.name: getattr(parameters, f"{name}_{f.name}") for f in fields(kind)})
    except ValueError as exc:
        raise UserError(f"training.{name}_*: {exc}; see conf/base/parameters_training.yml") from exc


def _check_contrast(p: TrainingParameters, objective: str, options: ContrastOptions) -> None:
    """Refuse what has no meaning together."""
    signal = options.signal
    resampler = options.resampler
    if isinstance(signal, FeatureSignal) and objective == "dcr":
        raise UserError(
            f"training.signal {p.signal} works on image features: set training.method to naive"
        )
    if isinstance(signal, FeatureSignal) and resampler:
        raise UserError(
            f"training.positives clip_neighbour resamples similarities, which {p.signal} does not"
            " take"
        )
    if objective == "dcr" and (signal or resampler):
        _check_neutral(
            p, "training.positives clip_neighbour" if resampler else f"training.signal {p.signal}"
        )
    if objective == "dcr" and options.synthetic_weight and p.published_loss:
        raise UserError(
            "training.positives synthetic does not go with training.published_loss true: set it to"
            " false"
        )
    if resampler:
        _check_resampling(p, objective, signal)


def _check_neutral(p: TrainingParameters, asked: str) -> None:
    neutral = {
        "target_weight": 0.5,
        "negatives_count": 0,
        "negatives_gradient": True,
        "published_loss": False,
    }
    for name, value in neutral.items():
        if getattr(p, name) != value:
            raise UserError(
                f"{asked} does not go with training.{name} {getattr(p, name)}: set it to {value}"
            )


def _check_resampling(p: TrainingParameters, objective: str, signal: Signal | None) -> None:
    columns = p.stage2_train_batch_size * (
        p.num_processes * p.num_hosts if p.gather_negatives else 1
    )
    if p.clip_neighbour_rule == "add_new_positive" and columns < 3:
        raise UserError(
            "training.clip_neighbour_rule add_new_positive needs stage2_train_batch_size of at"
            " least 3"
        )
    if objective == "naive" and p.num_views != 1:
        raise UserError(
            "training.positives clip_neighbour takes one view in naive: set training.num_views to 1"
        )
    if objective == "naive" and signal and signal.negatives_from != "other_views":
        raise UserError(
            f"training.positives clip_neighbour does not go with training.signal {p.signal} in"
            " naive"
        )


def batch_options(parameters: TrainingParameters) -> BatchOptions:
    """Return how batches are drawn under a run's ``parameters``."""
    return BatchOptions(**{f.name: getattr(parameters, f.name) for f in fields(BatchOptions)})


def monitor_options(parameters: TrainingParameters) -> MonitorOptions:
    """Return what the recipe's ``parameters`` have shown of each run."""
    values = {f.name: getattr(parameters, f.name) for f in fields(MonitorOptions)}
    return MonitorOptions(**values | {"report_to": tuple(parameters.report_to)})


def tuning_options(parameters: TrainingParameters) -> TuningOptions:
    """Return what of the tower trains under the recipe's ``parameters``."""
    lora = {f.name: getattr(parameters, f"lora_{f.name}") for f in fields(LoraOptions)}
    lora["targets"] = tuple(lora["targets"])
    return TuningOptions(parameters.tuning, parameters.num_tuned_blocks, LoraOptions(**lora))


def tuning_in_words(parameters: TrainingParameters) -> str:
    """Return how the tower trains under the recipe's ``parameters``, for a sentence."""
    words = {
        "lora": "with LoRA",
        "full": "as a whole",
        "last_blocks": f"in its last {parameters.num_tuned_blocks} blocks",
    }
    return words[parameters.tuning]


def approximations(run: Run) -> list[str]:
    """Return in words what makes the loss or gradient of ``run`` differ from the exact one;
    empty if it does not.
    """
    found = []
    if run.objective != "dcr":
        return found
    if count := run.parameters.negatives_count:
        found.append(
            f"{count} sampled negatives stand for all (their sum in the denominator is scaled up)"
        )
    if not run.parameters.negatives_gradient:
        found.append("no gradient flows through the negatives")
    return found


def view_augmentation(parameters: TrainingParameters, preprocessing: Preprocessing) -> Augmentation:
    """Return what makes the positive views of images.

    Args:
        parameters: of the recipe; ``view_*`` are the strengths.
        preprocessing: of the tower that sees the views; the published ones are made on pixels that
            it has normalised.
    """
    names = ("brightness", "contrast", "saturation", "hue", "horizontal_flip", "vertical_flip")
    augmentation = ViewAugmentation(
        **{name: getattr(parameters, f"view_{name}") for name in names},
        scale=(parameters.view_scale_min, 1.0),
        ratio=(parameters.view_ratio_min, parameters.view_ratio_max),
    )
    if not parameters.published_views:
        return augmentation
    return PublishedViews(augmentation, preprocessing.mean, preprocessing.std)
