"""Documentation; `docs.generate` writes the part of it that is made from the code."""
