"""Running an experiment: training over folds, what its networks say, figures, new patients.

Knows neither flags nor the terminal: it is handed a `Listener`.
"""
