"""Policies in NumPy: processes that only play need no torch."""
