"""Votes: whether the nodes that see each other are enough to go on."""
