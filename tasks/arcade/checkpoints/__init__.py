"""Checkpoint and training-state files, written atomically and verified when read."""
