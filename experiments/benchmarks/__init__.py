"""Benchmarks against NNI's own strategies: both sides in one run, in turns."""
