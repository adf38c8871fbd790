"""Studies: many questions of one kind, from a file or flags to a folder of results."""
