"""The core: true on a laptop with neither Prefect nor MLflow installed."""
