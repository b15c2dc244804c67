"""Stage 2's setting, searched on validation data by a rule declared before the search."""
