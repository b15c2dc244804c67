"""Kedro datasets of the project; named by the catalog alone."""
