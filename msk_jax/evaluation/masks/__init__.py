"""Figures of segmentations."""
