"""The cohort: its patients, scans and quality, and its classes beside each other."""

from msk_jax.reports.cohort import classes_table, cohort_rows
from msk_jax.reports.inputs import ReportInputs
from msk_jax.reports.sections.section import Section, filled


def section(inputs: ReportInputs) -> Section:
    """The section; a sentence where cohort.json is missing."""
    cohort = inputs.cohort
    html = filled(
        "cohort",
        inputs,
        cohort=None if cohort is None else cohort_rows(cohort),
        cohort_classes=classes_table(cohort),
    )
    return Section("Cohort", "cohort", html)
