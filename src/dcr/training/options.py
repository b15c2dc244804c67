"""Recipe parameters to the options that the trainer's parts take."""

from __future__ import annotations

from dataclasses import fields

from dcr.backbones import Preprocessing
from dcr.parameters import TrainingParameters
from dcr.training.batches import Augmentation, BatchOptions
from dcr.training.model import LoraOptions
from dcr.training.objectives import ObjectiveOptions
from dcr.training.published import PublishedViews
from dcr.training.run import RunOptions
from dcr.transforms import ViewAugmentation

STAGE1 = "stage1"
"""Name of stage 1's run; those of stage 2 are named by their method."""


def methods(parameters: TrainingParameters) -> list[str]:
    """Return stage 2's methods, the product's first."""
    return list(dict.fromkeys([parameters.method, *parameters.baselines]))


def run_options(parameters: TrainingParameters, name: str) -> RunOptions:
    """Return the options of stage 1, or of the stage-2 run of a method."""
    stage = "stage1" if name == STAGE1 else "stage2"
    own = ("max_train_steps", "train_batch_size", "learning_rate")
    shared = {f.name for f in fields(RunOptions)} - {"name", "objective", "published_reduction", *own}
    return RunOptions(
        name=name,
        objective=parameters.stage1_loss if name == STAGE1 else name,
        published_reduction=parameters.published_reduction and name == STAGE1,
        **{key: getattr(parameters, key) for key in shared},
        **{key: getattr(parameters, f"{stage}_{key}") for key in own},
    )


def objective_options(parameters: TrainingParameters) -> ObjectiveOptions:
    """Return what the methods share."""
    return ObjectiveOptions(**{f.name: getattr(parameters, f.name) for f in fields(ObjectiveOptions)})


def batch_options(parameters: TrainingParameters) -> BatchOptions:
    """Return how batches are drawn."""
    return BatchOptions(**{f.name: getattr(parameters, f.name) for f in fields(BatchOptions)})


def lora_options(parameters: TrainingParameters) -> LoraOptions:
    """Return LoRA's options."""
    return LoraOptions(**{f.name: getattr(parameters, f"lora_{f.name}") for f in fields(LoraOptions)})


def view_augmentation(parameters: TrainingParameters, preprocessing: Preprocessing) -> Augmentation:
    """Return what makes the positive views of images that a tower sees with this preprocessing."""
    names = ("brightness", "contrast", "saturation", "hue", "horizontal_flip", "vertical_flip")
    augmentation = ViewAugmentation(
        **{name: getattr(parameters, f"view_{name}") for name in names},
        scale=(parameters.view_scale_min, 1.0),
        ratio=(parameters.view_ratio_min, parameters.view_ratio_max),
    )
    if not parameters.published_views:
        return augmentation
    return PublishedViews(augmentation, preprocessing.mean, preprocessing.std)
