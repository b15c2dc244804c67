"""Cached latents to enhanced encoders, in two stages."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
