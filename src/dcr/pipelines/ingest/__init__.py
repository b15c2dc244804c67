"""Images and captions to shards."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
