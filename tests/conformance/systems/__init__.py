"""One file per published system: the outputs that its fixture folder wants, computed by this project's code."""
