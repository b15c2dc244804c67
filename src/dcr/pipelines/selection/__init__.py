"""From candidates for stage 2's setting to the one that the recipe's rule chooses.

It is chosen on validation data alone.
"""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
