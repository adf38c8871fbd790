"""Readers of what other benchmarks wrote: NCCL tests, STREAM, BabelStream, Intel MLC, llama-bench."""
