"""Candidates for the setting of stage 2 to the one that the recipe's rule chooses, on
validation data alone.
"""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
