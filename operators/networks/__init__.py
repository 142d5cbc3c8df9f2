"""Networks that metrics look through, built to take the official weights by their own key names."""
