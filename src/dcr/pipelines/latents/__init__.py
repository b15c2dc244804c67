"""Accepted samples to cached latents."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
