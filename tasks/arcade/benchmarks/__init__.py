"""Speed of training and of video."""
