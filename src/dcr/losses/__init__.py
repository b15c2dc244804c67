"""Losses as pure functions of tensors; this package imports nothing else of the project."""
