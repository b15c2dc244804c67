"""Encoders to scores: both abilities and what was lost, before and after."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
