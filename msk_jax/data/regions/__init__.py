"""Which part of an image a network sees, and cutting it out."""
