"""Fill the hole: one interface, one file per system."""
