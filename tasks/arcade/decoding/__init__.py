"""RAM from pictures: the 128 bytes behind the screens of an Atari game."""
