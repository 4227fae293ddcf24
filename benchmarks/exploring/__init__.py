"""The parts of benchmarks/explore.py."""
