"""Games are played for learning, in worker processes."""
