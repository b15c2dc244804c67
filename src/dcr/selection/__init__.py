"""The setting of stage 2 is searched on validation data, by a rule that the recipe declares
before the search.
"""
