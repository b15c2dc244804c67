"""Cached latents to positives that the diffusion model makes like them."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
