"""Official checkpoints as their authors published them: read without running anything in them, checked, converted once."""
