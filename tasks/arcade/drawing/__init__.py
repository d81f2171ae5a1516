"""Canvas, text, widgets, and the MP4 encoder and decoder."""
