"""One pure module per benchmark: arrays in, numbers out, nothing else of the project.

Notation: N items, d features, R bootstrap resamples. Every ``*_scores`` function takes ``counts``,
(..., N), how often each item is drawn, and returns values of shape (...): scalars by default, where
each item counts once. So a point estimate and its bootstrap replicates come from one formula.
"""
