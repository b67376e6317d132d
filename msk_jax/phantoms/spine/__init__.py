"""Vertebrae on CT (phantom P2), healthy and broken."""
