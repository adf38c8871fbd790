"""What becomes of a step time on thousands of devices over weeks: stragglers, failures, checkpoints, goodput."""
