"""Which input size and precision? Tried on calibration pictures, timed on this machine."""
