"""Everything after measuring: rows, summary, tables, plots, the report, and the comparison of two evaluations."""
