"""What makes the positive views of a run: ours, or the published code's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcr.data.views import ViewAugmentation
from dcr.published.views import PublishedViews

if TYPE_CHECKING:
    from dcr.data.transforms import Preprocessing
    from dcr.parameters.training import TrainingParameters
    from dcr.training.batches import Augmentation


def view_augmentation(parameters: TrainingParameters, preprocessing: Preprocessing) -> Augmentation:
    """Return what makes the positive views of images.

    Args:
        parameters: of the recipe; section ``views`` has the strengths.
        preprocessing: of the tower that sees the views; the published ones are made on pixels that
            it has normalised.
    """
    views = parameters.views
    augmentation = ViewAugmentation(
        **views.model_dump(exclude={"scale_min", "ratio_min", "ratio_max"}),
        scale=(views.scale_min, 1.0),
        ratio=(views.ratio_min, views.ratio_max),
    )
    if not parameters.takes("views"):
        return augmentation
    return PublishedViews(augmentation, preprocessing.mean, preprocessing.std)
