"""What an approach plays by, in NumPy: no torch where games are played."""
