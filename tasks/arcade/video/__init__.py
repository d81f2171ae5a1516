"""A trace becomes a video, every frame of it, with what its player sees; and the proof that it is that video."""
