"""Energy of counts under every model, against worked examples."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeframe import energy, errors
from spikeframe.core.counts import Counts
from spikeframe.energy import lemaire, twins


def fully_connected(inputs, outputs, steps, spikes_in, spikes_out, bias=True, samples=1):
    """Counts of an integrate-and-fire layer that adds once per update."""
    operations, updates, dense = spikes_in * outputs, steps * outputs, steps * inputs * outputs
    return Counts(
        samples=samples,
        steps=steps,
        inputs=inputs,
        neurons=outputs,
        fan_out=outputs,
        weights=inputs * outputs,
        spk_in=spikes_in,
        spk_out=spikes_out,
        syn_ac=operations,
        neu_upd=updates,
        neu_ac=updates,
        mem_rd_w=operations,
        mem_rd_s=operations + updates,
        mem_wr_s=operations + updates,
        route=spikes_in,
        bias_ac=updates if bias else 0,
        syn_ac_dense=dense,
        neu_upd_dense=updates,
        mem_rd_w_dense=dense,
        mem_rd_s_dense=dense + updates,
        mem_wr_s_dense=dense + updates,
    )


def example(bias=True):
    """The worked example: 100-50-10, ten steps, 200 input, 120 hidden and 15 output spikes."""
    return {
        "hidden": fully_connected(100, 50, 10, 200, 120, bias),
        "output": fully_connected(50, 10, 10, 120, 15, bias),
    }


def nanojoule(categories):
    return {name: pj / 1e3 for name, pj in categories.items()}


@pytest.mark.exact
def test_arithmetic_model_gives_the_worked_example():
    total = energy.report(example(bias=False), "horowitz_fp32").total
    assert total.spiking_pj == pytest.approx(10_620, rel=1e-12)
    assert total.non_spiking_pj == pytest.approx(5_500 * 4.6, rel=1e-12)
    assert total.non_spiking_every_step_pj == pytest.approx(55_000 * 4.6, rel=1e-12)
    assert total.ratio == pytest.approx(10_620 / 25_300)
    assert total.dense_ratio == pytest.approx(10_620 / (0.9 * (55_000 + 600)))


@pytest.mark.exact
def test_rate_estimate_agrees_where_every_event_reaches_every_neuron():
    total = energy.report(example(bias=False), "syops").total
    assert total.spiking_pj == pytest.approx(10_620, rel=1e-12)


@pytest.mark.exact
def test_memory_aware_model_gives_the_worked_example_to_six_digits():
    total = energy.report(example(), "lemaire").total
    assert nanojoule(total.spiking) == pytest.approx(
        {
            "operations": 1.1935,
            "addressing": 1.120,
            "potentials": 311.8953088,
            "weights": 165.48928,
            "biases": 7.9290688,
            "input and output": 6.006,
        },
        rel=1e-9,
    )
    assert total.spiking_pj / 1e3 == pytest.approx(493.633, rel=1e-6)
    formal = nanojoule(total.non_spiking)
    assert formal["operations"] == pytest.approx(17.606, rel=1e-6)
    assert formal["weights"] == pytest.approx(81.4072, rel=1e-6)
    assert formal["biases"] == pytest.approx(0.79290688, rel=1e-6)
    assert formal["input and output"] == pytest.approx(2.77726688, rel=1e-6)
    assert formal["addressing"] == pytest.approx(0.55, rel=1e-6)
    assert total.non_spiking_pj / 1e3 == pytest.approx(103.133, rel=1e-5)


def test_memory_reverses_the_verdict_of_arithmetic():
    assert energy.report(example(), "horowitz_fp32").total.ratio < 1 < energy.report(example(), "lemaire").total.ratio


@pytest.mark.exact
def test_memory_words_are_charged_per_share_of_a_64_bit_access():
    counts = {"layer": Counts(samples=1, steps=1, mem_rd_w=10, mem_rd_s=3, mem_wr_s=2)}
    assert energy.report(counts, "sram1m_fp32").total.spiking == pytest.approx(
        {"synapses": 0, "neurons": 0, "weight memory": 10 * 50.0, "state memory": 5 * 10.0}
    )
    assert energy.report(counts, "sram32k_int8").total.spiking["weight memory"] == pytest.approx(10 * 20 * 8 / 64)


@pytest.mark.exact
def test_published_faults_are_variants_of_the_memory_aware_model():
    constants = {"add": 0.1, "multiply": 3.1, "access": 13.2, "access_per_bit": 1.09e-5, "bits": 32}
    run = {"spikes_in": 200, "spikes_out": 120, "steps": 10}
    dense = lemaire.Layer.linear(100, 50)
    assert lemaire.spiking(constants, dense, **run, variant="paper")["operations"] == pytest.approx(
        0.1 * (200 * 50 * 100 + 500)
    )
    assert lemaire.spiking(constants, dense, **run, variant="plugin")["addressing"] == pytest.approx(
        0.1 * 200 / 100 * 50
    )
    conv = lemaire.Layer.conv((2, 8, 8), (4, 8, 8), (3, 3))
    right = lemaire.spiking(constants, conv, **run)
    assert right["operations"] == pytest.approx(0.1 * (200 * 9 * 4 + 10 * 256 + 120))
    assert right["addressing"] == pytest.approx(2 * 200 * 3.2 + 0.1 * 200 * 36)
    paper = lemaire.spiking(constants, conv, **run, variant="paper")
    assert paper["operations"] == pytest.approx(right["operations"] - 12)
    plugin = lemaire.spiking(constants, conv, **run, variant="plugin")
    assert plugin["addressing"] == pytest.approx(2 * 200 * 3.2 + 0.1 * 200 * 9)


@pytest.mark.exact
def test_one_by_one_convolution_of_one_position_equals_a_fully_connected_layer_but_for_addressing():
    constants = {"add": 0.1, "multiply": 3.1, "access": 13.2, "access_per_bit": 1.09e-5, "bits": 32}
    run = {"spikes_in": 70, "spikes_out": 31, "steps": 6}
    conv = lemaire.spiking(constants, lemaire.Layer.conv((12, 1, 1), (5, 1, 1), (1, 1)), **run)
    dense = lemaire.spiking(constants, lemaire.Layer.linear(12, 5), **run)
    assert conv.pop("addressing") == pytest.approx(dense.pop("addressing") + 2 * 70 * 3.2)
    assert conv == pytest.approx(dense)


@pytest.mark.exact
def test_chips_charge_operations_updates_and_hops():
    counts = example()
    assert energy.report(counts, "chip:truenorth").total.spiking_pj == pytest.approx(11_200 * 2.5)
    assert energy.report(counts, "chip:loihi").total.spiking_pj == pytest.approx(11_200 * 23.6 + 600 * 81 + 320 * 4)
    own = energy.chip("mine", synop=1.0, update=2.0, hop=3.0, source="bench")
    assert energy.report(counts, own).total.spiking_pj == pytest.approx(11_200 + 2 * 600 + 3 * 320)
    assert energy.report(counts, own).total.non_spiking is None
    assert energy.report(counts, own).total.break_even is None


@pytest.mark.exact
def test_static_power_is_charged_once_for_the_network():
    model = energy.get_model("chip:seneca").with_static(milliwatt=2.0, step_ms=0.5)
    plain = energy.report(example(), "chip:seneca").total.spiking_pj
    found = energy.report(example(), model)
    assert found.total.spiking["static"] == pytest.approx(2.0 * 0.5 * 10 * 1e6)
    assert found.total.spiking_pj == pytest.approx(plain + 1e7)
    assert "static" not in found.layers["hidden"].spiking


@pytest.mark.parametrize("name", [name for name, model in energy.models().items() if model.runs_macs])
def test_at_the_break_even_density_both_networks_cost_the_same(name):
    model = energy.get_model(name)
    for layer in example(bias=False).values():
        found = energy.report({"layer": layer}, model).total
        assert found.break_even > 0
        events = found.break_even * 10 * layer.weights // layer.neurons
        low, high = (
            sum(
                model.price(
                    fully_connected(layer.weights // layer.neurons, layer.neurons, 10, n, layer.spk_out, False)
                ).values()
            )
            for n in (int(events), int(events) + 1)
        )
        assert low <= found.non_spiking_pj <= high


def test_break_even_is_zero_where_silence_already_costs_more():
    layer = replace(fully_connected(4, 50, 1000, 10, 5), neu_exp=10**6)
    assert energy.report({"layer": layer}, "horowitz_fp32").total.break_even == 0


def test_no_input_costs_no_synaptic_energy():
    counts = twins.silent(example()["hidden"])
    assert counts.syn_ac == counts.mem_rd_w == counts.route == 0
    found = energy.report({"layer": counts}, "sram32k_fp32").total
    assert found.density == 0
    assert found.spiking["weight memory"] == 0


@given(st.integers(0, 1000), st.integers(0, 500), st.integers(1, 20))
def test_energy_is_additive_over_runs(spikes_in, spikes_out, steps):
    first = fully_connected(100, 50, 10, 200, 120)
    second = fully_connected(100, 50, steps, spikes_in, spikes_out)
    for model in energy.models():
        price = energy.get_model(model).price
        parts = sum(price(first).values()) + sum(price(second).values())
        assert sum(price(first + second).values()) == pytest.approx(parts)


def test_comparison_is_json_with_every_model_and_no_headline():
    found = energy.compare(example())
    data = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert data["samples"] == 1
    assert data["counts"]["hidden"]["syn_ac"] == 10_000
    assert list(data["models"]) == list(found.reports)
    for model in data["models"].values():
        assert model["total"]["spiking_pj"] == pytest.approx(
            sum(layer["spiking_pj"] for layer in model["layers"].values())
        )
        assert model["caveat"]
        assert model["sources"]
    text = found.table()
    assert all(report.model.caveat in text for report in found.reports.values())


def test_comparison_states_the_total_of_every_model():
    found = energy.compare(example(), ["sram32k_fp32", "chip:truenorth"])
    rows = found.table().splitlines()[2:4]
    for row, report in zip(rows, found.reports.values(), strict=True):
        assert row.startswith(report.model.title)
        assert energy.reports.energy(report.total.spiking_pj) in row
    assert "28 nJ" in rows[1]  # 11,200 events of 2.5 pJ


@pytest.mark.parametrize(
    ("pj", "text"),
    [
        (None, "–"),
        (0.0, "0 pJ"),
        (999.0, "999 pJ"),
        (1e3, "1 nJ"),
        (-2.5e6, "-2.5 µJ"),
        (1e15, "1000 J"),
        (2e16, "20000 J"),
    ],
)
def test_an_energy_has_a_unit_that_fits(pj, text):
    assert energy.reports.energy(pj) == text


def test_counts_of_nothing_add_nothing():
    counts = fully_connected(100, 50, 10, 200, 120)
    assert Counts() + counts == counts + Counts() == counts


def test_a_layer_of_sums_and_products_is_whole_if_all_its_weights_work():
    mixed = Counts(steps=2, inputs=4, neurons=3, fan_out=2, weights=12, syn_ac_dense=10, syn_mac_dense=8, dense_mac=6)
    assert twins.dense_operations(mixed) == 24
    assert twins.reach(mixed) == 3
    assert twins.reach(replace(mixed, weights=13)) == 2


def test_an_event_reaches_as_many_places_as_strides_let_its_kernel_meet():
    layer = lemaire.Layer.conv((2, 9, 9), (5, 4, 3), (3, 5), stride=2)
    rows, columns = (max(sum((i + k) % 2 == 0 for k in range(n)) for i in range(2)) for n in (3, 5))
    assert layer.reaches == 5 * rows * columns


def test_table_states_energy_per_sample():
    counts = {"hidden": replace(fully_connected(100, 50, 10, 200, 120, bias=False), samples=2)}
    text = energy.report(counts).table()
    assert "mean of 2" in text
    assert "4.72 nJ" in text
    assert "5,000" in text


@pytest.mark.fault
def test_an_unknown_model_names_the_nearest():
    with pytest.raises(errors.UnknownNameError, match="horowitz_fp32"):
        energy.report(example(), "horowitz_fp23")


@pytest.mark.fault
@pytest.mark.parametrize("counts", [None, [1], {"a": 1}])
def test_what_is_not_counts_is_refused(counts):
    with pytest.raises(errors.DTypeError, match="layer names"):
        energy.report(counts)


@pytest.mark.fault
@pytest.mark.parametrize("counts", [{}, {"a": Counts()}])
def test_a_run_without_samples_is_refused(counts):
    with pytest.raises(errors.ParameterError, match="no sample"):
        energy.report(counts)


@pytest.mark.fault
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), True, "1", None])
def test_a_chip_with_a_bad_figure_is_refused(value):
    with pytest.raises(errors.ParameterError, match="synop"):
        energy.chip("mine", synop=value, source="bench")


def test_a_model_of_ones_own_from_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        '[mine]\ntitle="Mine"\nbits=16\n[mine.constants]\n'
        + 'ac={value=2.0,unit="pJ",source="me"}\nweight_word={value=8.0,unit="pJ per 64-bit access",source="me"}\n'
        + '[twice]\nextends="mine"\n[twice.constants]\nac={value=4,unit="pJ",source="me"}\n'
    )
    models = energy.load_models(path)
    counts = {"layer": Counts(samples=1, steps=1, syn_ac=3, mem_rd_w=5)}
    assert energy.report(counts, models["mine"]).total.spiking_pj == 3 * 2 + 5 * 2
    assert energy.report(counts, models["twice"]).total.spiking_pj == 3 * 4 + 5 * 2
    assert models["twice"].sources == ("ac: 4 pJ (me)", "weight_word: 8 pJ per 64-bit access (me)")


def test_a_model_of_ones_own_from_a_function():
    model = energy.EnergyModel("mine", "Mine", lambda counts: {"all": 7.0 * counts.syn_ac})
    assert energy.report(example(), model).total.spiking_pj == 7.0 * 11_200


GOOD = '[m]\n[m.constants]\nac={value=1.0,unit="pJ",source="me"}\n'


@pytest.mark.fault
@pytest.mark.parametrize(
    ("text", "error", "word"),
    [
        ("[m", errors.ConfigError, "TOML"),
        ("m = 3", errors.ConfigError, "table"),
        (GOOD.replace("ac=", "av="), errors.UnknownNameError, "'ac'"),
        (GOOD.replace("1.0", "-1.0"), errors.ConfigError, "finite number"),
        (GOOD.replace("1.0", "nan"), errors.ConfigError, "finite number"),
        (GOOD.replace(',source="me"', ""), errors.ConfigError, "source"),
        (GOOD.replace('"me"', '" "'), errors.ConfigError, "source"),
        (GOOD.replace('"pJ"', '"nJ"'), errors.UnknownNameError, "pJ"),
        (GOOD.replace("[m]\n", '[m]\nextends="m"\n'), errors.ConfigError, "itself"),
        (GOOD.replace("[m]\n", '[m]\nextends="n"\n'), errors.UnknownNameError, "'n'"),
        (
            GOOD.replace("[m]\n", '[m]\nformula="lemaire"\n').replace("ac=", "add="),
            errors.ConfigError,
            "access_per_bit",
        ),
        (GOOD.replace("[m]\n", '[m]\nformula="syop"\n'), errors.UnknownNameError, "syops"),
        (GOOD.replace("[m]\n", "[m]\nbits=7\n"), errors.ConfigError, "bits"),
        (GOOD.replace("[m]\n", "[m]\ncaveats=''\n"), errors.UnknownNameError, "caveat"),
    ],
)
def test_a_faulty_model_file_is_named(tmp_path, text, error, word):
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(error, match=word):
        energy.load_models(path)


@pytest.mark.fault
def test_a_missing_model_file_is_named(tmp_path):
    with pytest.raises(errors.DataNotFoundError, match=r"none\.toml"):
        energy.load_models(tmp_path / "none.toml")


def test_no_loihi_2_figure_is_invented():
    assert not [name for name in energy.models() if "loihi2" in name or "loihi_2" in name]
