"""The 3D face: a linear basis, its fit to landmarks and pixels, its texture, renders and files."""
