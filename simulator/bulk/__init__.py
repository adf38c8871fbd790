"""Many static batches in closed form at once: what ``simulate`` says of each, without its operators and reasons."""
