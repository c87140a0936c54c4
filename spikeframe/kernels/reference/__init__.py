"""The reference provider: plain NumPy, which says what every kernel means."""
