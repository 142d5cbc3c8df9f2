"""Shapes in signatures are checked while testing, and only then."""

from jaxtyping import install_import_hook

install_import_hook(["operators", "jobs"], "beartype.beartype").__enter__()
