"""Wire faults, each a few lines of a raw-socket server, and the proof that none does harm."""
