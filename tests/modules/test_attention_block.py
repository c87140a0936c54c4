"""The spiking transformer block and the classifier of events around the mixers."""

from __future__ import annotations

import math

import pytest
import torch

from spikeframe import energy
from spikeframe.adapters.spiking import on_spikes, verify
from spikeframe.errors import NonFiniteError, ParameterError, ShapeError
from spikeframe.modules.attention import Block, Classifier, Layer, Selection, Sums, TopK, patches, recipe, time_tokens

WIDTH, HEADS, TOKENS = 16, 2, 8


def block(name, causal=False, **options):
    """Return a block in evaluation mode, its weights on a grid and its norms the identity but for a gain of 4."""
    torch.manual_seed(3)
    made = Block(WIDTH, HEADS, recipe(name, Layer(WIDTH, HEADS, TOKENS, causal=causal), **options)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_((parameter * 16).round() / 16)
        for part in (made.qkv, made.out, made.up, made.down):
            part.norm.weight.fill_(4.0)
    return made


def membranes(steps=3, batch=2, tokens=TOKENS):
    random = torch.Generator().manual_seed(1)
    return (torch.rand(steps, batch, tokens, WIDTH, generator=random) * 32).round() / 16


@pytest.mark.exact
@pytest.mark.parametrize("name", ["ssa", "sdsa", "nsa", "spark"])
def test_a_block_on_events_equals_the_block_and_counts_what_it_does(name):
    made = block(name)
    x = membranes()
    run = made.event_driven()
    with torch.no_grad():
        expected, state = made(x)
    out, after = run(x)
    if name == "nsa":  # sigmoid gates
        torch.testing.assert_close(out, expected)
    else:
        assert torch.equal(out, expected)
    assert torch.equal(after["up"].v, state["up"].v)
    counts = run.counts
    assert run.operations.synaptic > 0
    inner = run.operations.attention.neu_upd  # of the mixer
    assert counts.neu_upd == 3 * 2 * TOKENS * WIDTH * 8 + inner  # in, q, k, v, mixed, up, and twice as many below
    assert inner == (3 * 2 * WIDTH if name == "sdsa" else 0)
    assert counts.syn_ac > run.operations.total.syn_ac  # the linear maps
    assert sum(energy.get_model("horowitz_fp32").price(counts).values()) > 0


@pytest.mark.exact
def test_a_block_goes_on_from_its_state_and_a_causal_one_sees_no_later_tokens():
    made = block("ssa", causal=True)
    x = membranes()
    with torch.no_grad():
        whole, _ = made(x)
        first, state = made(x[:2])
        second, _ = made(x[2:], state)
        assert torch.equal(torch.cat([first, second]), whole)
        moved = x.clone()
        moved[:, :, 5:] += 1.0
        assert torch.equal(made(moved)[0][:, :, :5], whole[:, :, :5])
        assert not torch.equal(made(moved)[0][:, :, 5:], whole[:, :, 5:])


def test_the_linear_maps_of_a_block_cost_one_addition_per_active_input_and_output():
    made = block("ssa")
    run = made.event_driven()
    x = membranes()
    run(x)
    with torch.no_grad():
        spikes = made.run(x, None, None, made.dense_map, made.mix)[2]
    fan_out = {"in": 3 * WIDTH, "mixed": WIDTH, "up": 2 * WIDTH, "down": WIDTH}
    expected = sum(int(spikes[name].sum()) * outputs for name, outputs in fan_out.items())
    assert run.counts.syn_ac - run.operations.total.syn_ac == expected
    assert run.counts.spk_out == sum(int(z.sum()) for z in spikes.values())


@pytest.mark.parametrize("name", ["ssa", "sdsa", "gla", "nsa", "power"])
def test_a_block_keeps_the_promises_of_a_layer_on_spikes(name):
    made = block(name, causal=True)
    if name == "power":  # plans from the spikes so far
        made.mixer.planner = Selection(Sums(4), TopK(1), local=1, reuse="stream", every=2)
    layer = on_spikes(made)
    with torch.no_grad():
        verify(layer, membranes(steps=4))
    run = layer.event_driven()
    run(membranes())
    assert (run.counts.samples, run.counts.steps) == (2, 6)


def test_a_classifier_learns_and_runs_on_events():
    torch.manual_seed(0)
    x = torch.zeros(2, 32, TOKENS, 6)
    labels = torch.arange(32) % 3
    for n, label in enumerate(labels.tolist()):
        x[:, n, (n * 3) % TOKENS, 2 * label : 2 * label + 2] = 2.0
    network = Classifier(6, 3, Layer(WIDTH, HEADS, TOKENS), lambda layer: recipe("seer", layer, block=2, k=2), depth=2)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(network(x), labels) + network.loss(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None for p in network.blocks[0].mixer.parameters())
    network.eval()
    logits, counts, operations = network.on_events(x)
    with torch.no_grad():
        assert (logits.argmax(1) == network(x).argmax(1)).double().mean() > 0.9
    assert set(counts) == {"block 0", "block 1"} and operations.selection.syn_ac > 0


@pytest.mark.exact
def test_recordings_are_cut_into_tokens():
    frames = torch.arange(2 * 1 * 2 * 5 * 6, dtype=torch.float32).view(2, 1, 2, 5, 6)
    tokens = patches(frames, 3)
    assert tokens.shape == (2, 1, 4, 18)
    assert torch.equal(tokens[1, 0, 1], frames[1, 0, :, 0:3, 3:6].flatten())
    assert tokens[0, 0, 2].view(2, 3, 3)[:, 2].eq(0).all()  # padded below
    x = torch.arange(7.0)[:, None, None].expand(7, 1, 2)
    cut = time_tokens(x, 3)
    assert cut.shape == (3, 1, 3, 2) and cut[:, 0, 1, 0].tolist() == [3.0, 4.0, 5.0] and cut[1, 0, 2].eq(0).all()


@pytest.mark.fault
def test_what_a_block_cannot_use_is_named():
    made = block("ssa")
    x = membranes()
    x[1, 0, 2, 3] = math.inf
    for run in (made, made.event_driven()):
        with pytest.raises(NonFiniteError, match=r"\[1, 0, 2, 3\]"):
            run(x)
        with pytest.raises(ShapeError, match="tokens"):
            run(torch.zeros(2, 1, WIDTH, 1, WIDTH))
    with pytest.raises(ParameterError, match="training mode"):
        made.train().event_driven()
    with pytest.raises(ParameterError, match="heads"):
        Block(10, 3, made.mixer)
    with pytest.raises(ShapeError, match="Classifier"):
        Classifier(6, 3, Layer(WIDTH, HEADS, TOKENS), lambda layer: recipe("ssa", layer))(torch.zeros(1, 1, 3, 6))
    with pytest.raises(ShapeError, match="patches"):
        patches(torch.zeros(3, 4, 5), 2)
    empty, _ = made.eval()(torch.zeros(2, 1, 0, WIDTH))
    assert empty.shape == (2, 1, 0, WIDTH)
