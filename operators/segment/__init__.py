"""Where the occluder is and which skin can be seen: landmarks prompt a segmenter; two kinds behind one interface.

Both kinds have a config with a `kind` and write the same columns: `grabcut.GrabcutSegmenter`, `sam.SamSegmenter`.
"""
