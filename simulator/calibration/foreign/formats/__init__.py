"""One file for each format; each registers itself."""
