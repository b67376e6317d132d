"""Figures of classes and probabilities."""
