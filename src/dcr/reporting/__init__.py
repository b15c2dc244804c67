"""The page a person reads after a run: comparisons, tables, figures, images, and the page that
holds them.
"""
