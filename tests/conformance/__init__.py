"""Conformance with the official networks: same formula weights, same inputs, same outputs."""
