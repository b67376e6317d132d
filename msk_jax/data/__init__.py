"""DICOM in, de-identification, cohort and folds, TFRecord shards, batches, augmentation."""

import logging
import os

# Read when TensorFlow loads, which only reads and writes files here: its start-up messages say
# nothing to our user. Both are needed: the note on oneDNN ignores the log level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
for _name in ("tensorflow", "absl"):
    logging.getLogger(_name).setLevel(logging.ERROR)
