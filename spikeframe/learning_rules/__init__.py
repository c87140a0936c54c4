"""Learning rules, one per file. Imports nothing by itself: neurons use the surrogates of this package."""
