"""What is to be known of a unit, one file a kind of task.

The first half of each - what a training asks it - is `training.task.TrainedTask`.
"""
