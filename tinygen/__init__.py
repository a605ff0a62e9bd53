"""tinygen: int8 models in, static-memory C out, checked byte for byte."""
