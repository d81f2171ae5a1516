"""Every setting as a frozen pydantic value, and the named approaches."""
