"""Sacroiliac joints on CT (phantom P1)."""
