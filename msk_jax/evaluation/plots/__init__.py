"""Pictures of figures, in one house style."""
