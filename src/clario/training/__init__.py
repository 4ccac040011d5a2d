"""Training of Clario's own models. PyTorch is imported here and nowhere else."""
