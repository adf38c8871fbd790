"""One file per group of model families; each registers its readers."""
