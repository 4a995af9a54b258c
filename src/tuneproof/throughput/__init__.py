"""FLOPs of training, and what the device attains."""
