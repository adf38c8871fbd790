"""Serving: from flags or a fleet file to requests that pools of replicas answer, and what that came to."""
