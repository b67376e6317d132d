"""Weights of others: files, names, and what they mean here."""
