"""Device classes: the law of each, and its parameters from the facts of a device."""
