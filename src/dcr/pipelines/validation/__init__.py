"""Shards to a manifest of accepted samples."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
