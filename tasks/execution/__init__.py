"""How flow runs behave: events, progress, names, graceful stop, retries, provenance."""
