"""Tables of predictions, read and written."""
