"""Figures with intervals, and what all of them are made with."""
