"""Launch settings of a plan that was found, each traceable to the field of the result that it is of."""
