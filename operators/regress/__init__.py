"""Face model coefficients in one forward pass: published regressors, as a fit of their own or as a fit's start."""
