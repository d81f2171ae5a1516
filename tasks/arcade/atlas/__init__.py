"""Atlas: the effect of each byte of RAM on the screen."""
