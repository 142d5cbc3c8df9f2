"""Promptable segmentation of the occluder and of the visible face, prompted by landmarks."""
