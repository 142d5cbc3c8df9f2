"""Readers of face bases, one file per file format; each returns a `FaceBasis`."""
