"""Outside data, read without trust, and what becomes of a picture before a model sees it."""
