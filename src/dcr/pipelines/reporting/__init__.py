"""Scores, losses and records to the page that a person reads."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
