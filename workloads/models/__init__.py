"""Model architectures: the record, parameter counts, shipped models, and Hugging Face configs."""
