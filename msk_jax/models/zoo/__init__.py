"""Networks that others wrote too, a file per family."""
