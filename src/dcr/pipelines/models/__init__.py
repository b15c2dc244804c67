"""The recipe's models: downloaded, verified, described."""

from .pipeline import create_pipeline

__all__ = ["create_pipeline"]
