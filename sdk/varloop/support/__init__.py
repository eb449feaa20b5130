"""What any layer may use and what knows nothing of runs: time, caches, masking, numbers, connections."""
