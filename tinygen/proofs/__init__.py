"""Cheaper integer arithmetic that is proved, at generation time, to give what the profile's own gives."""
