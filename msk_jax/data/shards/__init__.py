"""A built cohort on disk: shards, their index, folds."""
