"""The C library of a model: what its files say, and what the manifest says of it."""
