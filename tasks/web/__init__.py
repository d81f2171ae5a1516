"""Web pages of `ramreel up`: gallery, games, artifacts of runs; the only package that imports Starlette."""
