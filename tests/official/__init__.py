"""Files in the layouts in which the authors published their checkpoints, filled with formula weights."""
