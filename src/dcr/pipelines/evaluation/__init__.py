"""Encoders to scores: both abilities and what was lost, before and after."""

from .pipeline import create_embedding_pipeline, create_pipeline

__all__ = ["create_embedding_pipeline", "create_pipeline"]
