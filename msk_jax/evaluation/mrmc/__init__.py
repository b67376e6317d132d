"""Several readers, several cases: the analysis of a reader study."""
