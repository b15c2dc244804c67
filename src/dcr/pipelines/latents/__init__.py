"""Accepted samples to cached latents, and the check of these."""

from .pipeline import create_pipeline, create_verify_pipeline

__all__ = ["create_pipeline", "create_verify_pipeline"]
