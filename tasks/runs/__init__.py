"""Runs as the flows need them: lookup, comparability, the data of reports, reels, imports, verification."""
