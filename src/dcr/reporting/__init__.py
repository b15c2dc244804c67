"""The page a person reads after a run: its comparisons, tables, figures and images."""
