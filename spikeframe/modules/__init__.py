"""Modules: layers and methods built from neurons, each in general form."""
