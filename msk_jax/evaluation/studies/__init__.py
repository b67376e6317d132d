"""Figures of a whole study, of groups of patients and of models side by side."""
