"""Kernels: traced steps, synapses and event loops, and the providers that run them."""
