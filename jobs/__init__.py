"""When and where it happens: Ray, storage, retries, clocks and the command line."""
