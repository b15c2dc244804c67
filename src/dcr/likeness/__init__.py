"""What the recipe's backbone finds alike: image and caption, samples, evaluation images.

Validation compares pictures by bytes and by perceptual hash; this second look compares features, on
the device. It is a pipeline of its own, so that validation without it loads no model.
"""

from dcr.likeness.comparing import plan_likenesses
from dcr.likeness.evaluation_images import EvaluationFeatures, embed_evaluation_images
from dcr.likeness.features import plan_features

__all__ = ["EvaluationFeatures", "embed_evaluation_images", "plan_features", "plan_likenesses"]
