"""Processes that train together: started, heard, joined and ended."""
