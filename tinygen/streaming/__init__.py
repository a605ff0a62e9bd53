"""Models over windows of frames, computed frame by frame: what each operator reads of the past, and what holds it."""
