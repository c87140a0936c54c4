"""Neurons that step in torch."""

from __future__ import annotations

from spikeframe.neurons import Neuron


def stepped(model):
    """Let all neurons step in torch, which compiles nothing; every provider gives the same bits."""
    for part in model.modules():
        if isinstance(part, Neuron):
            part.backend = "torch"
    return model
