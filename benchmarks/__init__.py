"""Side by side against peers, in one run; results are kept as JSON with the calibration of the machine."""
