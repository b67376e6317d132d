"""The same network here and in PyTorch, side by side. Only what is called imports torch."""
