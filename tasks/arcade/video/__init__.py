"""A trace becomes a film, every frame of it, with what its player sees; and the proof that it is that film."""
