"""What each byte of RAM does on the screen, found out by changing it."""
