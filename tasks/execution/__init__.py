"""How flow runs behave: events, progress, names, graceful stop, retries, crash loops, worker processes, provenance."""
