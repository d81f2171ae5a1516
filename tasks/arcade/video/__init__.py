"""Rendering traces as videos (plain, with a panel, clips, reels), and verifying that a file is such a video."""
