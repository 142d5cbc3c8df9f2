"""Pixels of triangles: one interface, one file per backend."""
