"""Numbers that compare a reconstruction with the truth; every one says over how many pixels, images or sets it was taken."""
