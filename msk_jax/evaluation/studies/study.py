"""The old address of `operating_points`, until `msk_jax.study.finishing` asks at the new one."""

from msk_jax.evaluation.studies.thresholds import operating_points as operating_points
