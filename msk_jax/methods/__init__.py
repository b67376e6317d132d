"""Who does what a stage is for: `estimator` holds what learns from a table."""
