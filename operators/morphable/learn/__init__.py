"""How a face base is learned from photos: pure functions of landmarks and unwrapped colours."""
