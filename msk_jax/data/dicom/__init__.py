"""Headers of DICOM files, frames, their places in the patient, acquisitions."""
