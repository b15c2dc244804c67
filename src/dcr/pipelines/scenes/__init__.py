"""The demo's world, rendered in outside formats, and the small base models trained on it."""

from .pipeline import create_pipeline, create_validation_pipeline

__all__ = ["create_pipeline", "create_validation_pipeline"]
