"""One file per schema step, applied in order."""
