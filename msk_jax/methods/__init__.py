"""Who does what a stage is there for: networks, and estimators of tables."""
