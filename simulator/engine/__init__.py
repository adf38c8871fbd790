"""The event engine on SimPy: the only room that imports simpy."""
