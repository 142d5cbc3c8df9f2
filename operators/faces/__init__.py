"""Faces of a photo: find them, place dense landmarks, cut out upright crops."""
