"""How wrong a prediction may be: residual models and the composition of intervals."""
