"""Models of other tools as graphs of operators: readers, recognition of patterns and architectures, reports."""
