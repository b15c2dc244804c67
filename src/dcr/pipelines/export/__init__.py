"""The enhanced encoder as users share it: scores in its card, the precision they want, LLaVA's
tower alone.
"""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
