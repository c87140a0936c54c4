"""Adapters: modules as layers on spikes."""
