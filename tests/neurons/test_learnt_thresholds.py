"""A learnt threshold that training brings below the reset is named at the next call, whatever the neuron."""

from __future__ import annotations

import pytest
import torch

from spikeframe import neurons
from spikeframe.errors import ParameterError
from spikeframe.neurons import Neuron, Sequential
from spikeframe.training import fit

#: Every neuron whose table has a threshold and a reset, by the names that they have there.
PAIRS = {
    name: (next(n for n in ("v_peak", "v_th") if n in kind.PARAMETERS), "c" if "c" in kind.PARAMETERS else "v_reset")
    for name, kind in vars(neurons).items()
    if isinstance(kind, type) and issubclass(kind, Neuron) and {"v_th", "v_peak"} & set(kind.PARAMETERS)
    and {"v_reset", "c"} & set(kind.PARAMETERS)
}  # fmt: skip


def test_all_are_tried():
    assert {"LIF", "PLIF", "IF", "EIF", "AdEx", "CondLIF", "DendriticLIF", "EscapeLIF", "Izhikevich"} <= set(PAIRS)


@pytest.mark.fault
@pytest.mark.parametrize("name", PAIRS)
def test_a_learnt_threshold_below_the_reset_is_named(name):
    threshold, reset = PAIRS[name]
    layer = getattr(neurons, name)(dt=0.1, learnable=[threshold], backend="torch")
    x = dict.fromkeys(layer.receptors, torch.zeros(2, 1, 3))
    x = x if len(x) > 1 else next(iter(x.values()))
    layer(x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(
                float(layer.value(reset)) - 1.0 if f"_{threshold}" in dict(layer.named_parameters()) else -9
            )
    with pytest.raises(ParameterError, match=rf"{name}.*The learnt value left its range in training: lower its"):
        layer(x)


@pytest.mark.fault
def test_fit_says_so_too():
    model = Sequential(torch.nn.Linear(3, 2), neurons.LIF(dt=1.0, learnable=["v_th"], backend="torch"))
    batches = [(torch.ones(5, 2, 3), torch.tensor([0, 1]))]
    wild = torch.optim.SGD(model[1].parameters(), 1e4)
    with torch.no_grad():
        model[0].bias.fill_(0.4)
    with pytest.raises(ParameterError, match="LIF: v_reset must be below v_th"):
        for _ in range(20):
            fit(model, batches, epochs=3, optimizer=wild, progress=False, loss=lambda scores, _: -scores.sum())
