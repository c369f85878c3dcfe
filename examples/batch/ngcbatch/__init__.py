"""The parts of ngc-batch."""
