"""Live view: a checkpoint plays at the console's own rate, and a person can pause it, take over and change its RAM."""
