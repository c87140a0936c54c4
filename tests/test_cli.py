"""The command line, on tiny runs in a folder of its own."""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

from spikeframe import cli, datasets
from spikeframe.core import Counts
from spikeframe.kernels import source
from spikeframe.training.runs import Settings

QUICK = ["train", "--quick", "--samples", "40", "--time-bins", "16", "--dt", "20"]


def _json(capsys) -> dict:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture(autouse=True)
def _threads():
    """Give back the threads that --threads took."""
    before = torch.get_num_threads(), numba.get_num_threads()
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[Path, dict]:
    """A finished tiny run and the JSON line it printed."""
    folder = tmp_path_factory.mktemp("cli") / "with space"
    done = subprocess.run(
        [sys.executable, "-m", "spikeframe", *QUICK, "--seed", "3", "--out", str(folder), "--json", "--quiet"],
        capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "spikeframe:" not in done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


def test_train_prints_one_object_with_what_scripts_need(run):
    _, result = run
    wanted = {"test_accuracy", "reference_accuracy", "differing_spikes", "spikes", "synaptic_operations", "energy"}
    assert wanted | {"report"} <= set(result)
    assert result["differing_spikes"] == 0
    assert Path(result["report"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert 0 <= result["test_accuracy"] <= 1
    assert 0 <= result["reference_accuracy"] <= 1
    assert result["spikes"] == sum(layer["spk_out"] for layer in result["layers"].values()) > 0


@pytest.mark.exact
def test_the_run_folder_holds_what_the_report_reads(run):
    folder, printed = run
    result = json.loads((folder / "result.json").read_text())
    assert {key: printed[key] for key in result} == result
    assert result["seed"] == 3
    assert np.sum(result["confusion"]) == result["test_samples"] == 40
    layers = {name: Counts(**counts) for name, counts in result["layers"].items()}
    assert list(layers) == ["hidden", "output"]
    assert layers["hidden"].steps == 40 * 16
    with np.load(folder / "sample.npz", allow_pickle=False) as sample:
        assert sample["frames"].shape == (16, 2, 34, 34)
        assert sample["output"].shape == (16, 10)
        steps, neurons = sample["spikes_hidden"].T
        assert steps.max(initial=0) < 16
        assert neurons.max(initial=0) < 32
        assert sample["rates_hidden"].sum() * 40 == pytest.approx(layers["hidden"].spk_out)
        assert float(sample["dt_ms"]) == 20.0
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    config = json.loads((folder / "config.json").read_text())
    assert config["run"]["seed"] == 3
    assert config["input"]["time_bins"] == 16


@pytest.mark.exact
def test_evaluate_finds_what_train_found(run, capsys):
    folder, result = run
    assert cli.main(["evaluate", str(folder), "--json"]) == 0
    again = _json(capsys)
    for key in ("test_accuracy", "snapped_accuracy", "spikes", "synaptic_operations", "layers", "differing_spikes"):
        assert again[key] == result[key]
    assert cli.main(["evaluate", str(folder), "--split", "validation", "--json", "--threads", "1"]) == 0
    assert _json(capsys)["differing_spikes"] == 0


@pytest.mark.exact
def test_evaluate_runs_event_by_event_with_weights_of_few_bits(run, capsys):
    folder, result = run
    assert cli.main(["evaluate", str(folder), "--weight-bits", "3", "--json"]) == 0
    coarse = _json(capsys)
    assert coarse["differing_spikes"] == 0
    assert coarse["test_accuracy"] == result["test_accuracy"]
    for name, snapped in coarse["snap"].items():
        assert snapped["step"] >= 16 * result["snap"][name]["step"]
        assert snapped["rms_change"] > result["snap"][name]["rms_change"]
    assert cli.main(["evaluate", str(folder), "--weight-bits", "17"]) == 2
    assert "weight_bits=17: must be a whole number from 2 to 16" in capsys.readouterr().err


def test_simulate_runs_one_sample_and_draws_it(run, capsys, tmp_path):
    folder, _ = run
    picture = tmp_path / "new" / "one.png"
    assert cli.main(["simulate", str(folder), "--sample", "2", "--out", str(picture), "--json"]) == 0
    found = _json(capsys)
    assert found["differing_spikes"] == 0
    assert len(found["decision_over_time"]) == 16
    assert found["decision_over_time"][-1] == found["predicted"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in picture.parent.iterdir()] == ["one.png"]


def test_simulate_without_a_run_says_that_the_network_is_untrained(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["simulate", "--sample", "1"]) == 0
    text = capsys.readouterr().out
    assert "untrained" in text
    assert "Decision" not in text
    assert (tmp_path / "digits-test-1.png").is_file()
    assert cli.main(["simulate", "--sample", "1", "--out", "named"]) == 0
    assert (tmp_path / "named.png").is_file()


def test_simulate_takes_an_event_file(capsys, tmp_path):
    events = datasets.make_events([1, 2, 3], [4, 5, 6], [0, 15_000, 29_000], [0, 1, 1])
    np.save(tmp_path / "some.npy", events)
    words = ["simulate", "--file", str(tmp_path / "some.npy"), "--out", str(tmp_path / "a.svg")]
    assert cli.main(words) == 2
    assert "--sensor" in capsys.readouterr().err
    assert cli.main([*words, "--sensor", "20", "20", "--json"]) == 0
    found = _json(capsys)
    assert (found["events"], found["steps"], found["label"], found["trained"]) == (3, 3, None, False)
    assert cli.main([*words[:-1], str(tmp_path / "a.foo"), "--sensor", "20", "20"]) == 2
    assert ".png" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.svg", "some.npy"]


def test_report_writes_the_page_again(run, capsys):
    folder, _ = run
    (folder / "report.html").unlink()
    assert cli.main(["report", str(folder), "--json"]) == 0
    assert Path(_json(capsys)["report"]).is_file()


def test_data_commands_list_inspect_and_convert(capsys, tmp_path):
    assert cli.main(["data", "list", "--json"]) == 0
    assert {"digits", "nmnist"} <= set(_json(capsys)["sets"])
    assert cli.main(["data", "info", "Digits", "--json"]) == 0
    splits = _json(capsys)["splits"]
    assert {name: split["recordings"] for name, split in splits.items()} == {
        "train": 1197, "validation": 200, "test": 400,
    }  # fmt: skip
    assert cli.main(["data", "convert", "digits", "--out", str(tmp_path), "--json"]) == 0
    assert all(Path(path).is_file() for path in _json(capsys)["files"].values())


@pytest.mark.exact
def test_an_interrupted_training_says_how_to_go_on_and_does(run, capsys, tmp_path, monkeypatch):
    from spikeframe.training import loop

    folder, _ = run
    original, calls = loop.evaluate, []

    def interrupt(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    out = tmp_path / "cut off"
    words = [*QUICK, "--seed", "3", "--no-reference", "--out", str(out)]
    monkeypatch.setattr(loop, "evaluate", interrupt)
    assert cli.main(words) == 130
    said = capsys.readouterr().err
    assert "--resume" in said
    assert f"--out '{out}'" in said
    assert cli.main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert cli.main([*words, "--resume", "--json"]) == 0
    assert _json(capsys)["reference_accuracy"] is None
    weights = [(place / "model.safetensors").read_bytes() for place in (folder, out)]
    assert weights[0] == weights[1]
    assert cli.main([*words, "--force", "--epochs", "1", "--json"]) == 0
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 1


def test_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parser = cli._parser()
    for expected, words in (("digits-1", []), ("digits-2", []), ("digits-2", ["--resume"]), ("digits-3", [])):
        folder = cli.train.run_folder(parser.parse_args(["train", *words]), "digits")
        assert folder.name == expected
        folder.mkdir(parents=True, exist_ok=True)


@pytest.mark.fault
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "--data", "digts"], "Did you mean 'digits'"),
        (["train", "--data", "nmnist"], "root"),
        (["train", "--data", "nmnist", "--root", "nowhere"], "nowhere"),
        (["train", "--data", "digits", "--root", "somewhere"], "leave root out"),
        (["train", "--network", "cnn", "--quick"], "conv"),
        (["train", "--epochs", "0", "--quick"], "epochs"),
        (["train", "--lr", "nan", "--quick"], "lr"),
        (["train", "--dt", "-1"], "dt"),
        (["train", "--seed", "-1", "--quick"], "seed"),
        (["train", "--threads", "0"], "threads"),
        (["train", "--device", "gpu", "--quick"], "cuda:N"),
        (["train", "--device", "cuda:77", "--quick"], "torch does not see it"),
        (["evaluate", "nowhere"], "nowhere"),
        (["simulate", "--sample", "400"], "0 to 399"),
        (["simulate", "nowhere"], "nowhere"),
        (["simulate", ".", "--data", "shd"], "--data is for a network without a run"),
        (["report", "nowhere"], "nowhere"),
        (["report", "nowhere.h5"], "nowhere.h5: there is no such run folder, nor a saved simulation"),
        (["data", "fetch", "digits", "--root", "x"], "built in"),
    ],
)
def test_an_error_of_the_input_is_one_line_and_status_2(words, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("spikeframe: ")
    assert said in last


def test_help_needs_no_heavy_import():
    code = (
        "import sys, spikeframe.cli as c\n"
        "try: c.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numba', 'numpy', 'matplotlib', 'tqdm') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_help_states_the_defaults_that_hold(capsys):
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    stated = dict(re.findall(r"--([a-z-]+) [A-Z]+ [^()]*?\(default: ([\d.]+)\)", text))
    names = {"tau": "tau_m"}
    defaults = {field.name: field.default for field in fields(Settings)}
    assert {"epochs", "seed", "dt", "lr", "dropout", "batch-size", "tau", "pool", "rate-target"} <= set(stated)
    for option, value in stated.items():
        assert float(value) == defaults[names.get(option, option.replace("-", "_"))], option


@pytest.mark.data
@pytest.mark.parametrize(("data", "folder"), [("nmnist", "nmnist_small"), ("shd", "fsdd_shd_mini")])
def test_real_recordings_train_alike(data, folder, recordings, capsys, tmp_path):
    words = ["train", "--data", data, "--root", str(recordings / folder), "--samples", "30", "--time-bins", "20"]
    words += ["--dt", "50", "--epochs", "1", "--hidden", "16", "--no-reference", "--out", str(tmp_path), "--json"]
    assert cli.main(words) == 0
    result = _json(capsys)
    assert result["differing_spikes"] == 0
    assert result["layers"]["hidden"]["spk_in"] > 0


@pytest.mark.data
def test_a_gesture_clip_is_shown_event_by_event(recordings, capsys, tmp_path):
    root = str(recordings / "dvs128_gesture_slayer")
    words = ["simulate", "--data", "dvsgesture", "--root", root, "--dt", "50", "--out", str(tmp_path / "clip.png")]
    assert cli.main([*words, "--json"]) == 0
    found = _json(capsys)
    assert (found["events"], found["steps"], found["outside"], found["differing_spikes"]) == (63471, 29, 0, 0)


@pytest.fixture
def bare(tmp_path) -> Path:
    """The folder of a run that knows nothing, whose page is soon made."""
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "result.json").write_text("{}")
    return folder


def test_a_report_is_written_where_it_is_told(bare, tmp_path, capsys):
    page = tmp_path / "new" / "sub ü.html"
    assert cli.main(["report", str(bare), "--out", str(page)]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert str(page) in capsys.readouterr().out


@pytest.mark.fault
def test_a_folder_that_cannot_be_written_is_named(bare, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["report", str(bare), "--out", str(tmp_path / "file" / "page.html")]) == 2
    assert f"{tmp_path / 'file'}" in (said := capsys.readouterr().err) and "Not a directory" in said
    (tmp_path / "taken.png").mkdir()
    for words in (["report", str(bare)], ["simulate", "--sample", "1"]):
        assert cli.main([*words, "--out", str(tmp_path / "taken.png")]) == 2
        assert f"{tmp_path / 'taken.png'}: Is a directory" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "file", "taken.png"]
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "SPIKEFRAME_CACHE names another folder" in cli._what_failed(full)


def test_words_of_one_and_of_many_things(capsys):
    assert cli.main(["papers", "18"]) == 0
    assert "1 paper, 3 claims:" in capsys.readouterr().out
    assert cli.main(["models", "Nope"]) == 2
    assert re.search(r"Did you mean .* and \d+ more\.$", (said := capsys.readouterr().err).strip()) and len(said) < 1200
    with pytest.raises(SystemExit):
        cli.main(["data", "convert", "--help"])
    assert "Pack a local copy into one file per split." in capsys.readouterr().out


def test_quiet_is_quiet_about_compiling_too(monkeypatch, capsys):
    def compile_something(*_):
        with source.compiling("a kernel"):
            time.sleep(0.1)
        return {}

    monkeypatch.setattr(source, "_PATIENCE", 0.01)
    monkeypatch.setattr(cli.papers, "run", compile_something)
    assert cli.main(["papers", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["papers"]) == 0
    assert capsys.readouterr().err.startswith("spikeframe: compiling a kernel")


@pytest.mark.fault
def test_a_terminal_without_a_sign_gets_another_and_file_names_as_they_are(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert cli.main(["papers", "18"]) == 0
    print("6.91 µJ – 日", b"r\xc3\xbcn".decode("ascii", "surrogateescape"))
    assert terminal.buffer.getvalue().endswith(b"6.91 uJ - ? r\xc3\xbcn\n")
