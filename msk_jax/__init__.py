"""Musculoskeletal imaging AI on JAX: from a DICOM cohort to the statistics of a reader study."""

__version__ = "0.1.0"
