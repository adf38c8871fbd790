"""What happens: laws of device classes, networks, the event engine, and what is computed from them."""
