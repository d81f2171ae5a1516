"""Canvas, text, and widgets; the MP4 encoder and decoder."""
