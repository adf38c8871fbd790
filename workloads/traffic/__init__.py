"""Traffic: which requests arrive when, and how long they are; drawn from laws or replayed from traces."""
