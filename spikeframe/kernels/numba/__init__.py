"""The CPU provider: loops compiled by Numba."""
