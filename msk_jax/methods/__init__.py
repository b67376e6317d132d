"""Who does what a stage is there for: networks, estimators of tables."""
