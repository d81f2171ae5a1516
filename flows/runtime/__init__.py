"""Process-level setup of flow runs."""
