"""FLOPs of training, and the peak of the device."""
