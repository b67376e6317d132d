"""Pseudonyms, de-identified copies, and looking for names in what was written."""
