"""Side-by-side timings: what `tools/benchmark.py` measures."""
