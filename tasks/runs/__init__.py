"""Runs as the flows need them: lookup, comparability, report data, imports."""
