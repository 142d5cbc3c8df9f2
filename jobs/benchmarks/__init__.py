"""One module per subject; functions marked with `jobs.bench.benchmark` are found by themselves."""
