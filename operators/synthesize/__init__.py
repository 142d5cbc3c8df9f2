"""Put masks and other things in front of faces, and remember exactly where."""
