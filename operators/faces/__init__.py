"""Find faces, place dense landmarks, align and crop, paste back."""
