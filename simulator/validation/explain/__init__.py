"""Why a measured run differs from its prediction: what the time consists of, and the smallest change that closes it."""
