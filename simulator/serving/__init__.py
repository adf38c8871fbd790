"""Serving: requests that arrive over time, are queued, batched and answered by replicas."""
