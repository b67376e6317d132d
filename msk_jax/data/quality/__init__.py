"""How good a scan is, and its grade."""
