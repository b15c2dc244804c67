"""Measured samples to what the backbone's features tell of them."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
