"""Finished runs of a sweep to one page that compares them."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
