"""Model files to graphs: one module per format."""
