"""The enhanced encoder as users share it.

It comes with scores in its card, in the precision they want, and as LLaVA's tower alone.
"""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
