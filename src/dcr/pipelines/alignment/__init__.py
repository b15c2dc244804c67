"""Encoders as trained to maps that bring images and texts together again, one of each encoder."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
