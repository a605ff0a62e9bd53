"""What inferences cost in energy, from what a meter recorded meanwhile."""
