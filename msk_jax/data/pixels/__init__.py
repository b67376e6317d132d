"""Stored pixels of DICOM files: streams, codecs, values with units."""
