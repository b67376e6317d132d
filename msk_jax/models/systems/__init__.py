"""Networks of published systems, and the settings that they are made from."""
