"""Training of generators from multi-view video; the only package besides `body_models` that imports torch."""
