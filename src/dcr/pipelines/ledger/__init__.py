"""Published numbers beside what is measured here."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
