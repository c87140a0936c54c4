"""Bridges: modules as layers on spikes, and the tools and file formats of others, each behind its own extra."""
