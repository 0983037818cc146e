"""What is printed: on terminals, in files, where it cannot be written, and in any encoding."""

import io
import json
import os
import re
import subprocess
import sys

import pytest
from rich.console import Console

from tests.runs import tiny_run, train
from unforced.cli.main import main
from unforced.files import write_json
from unforced.integrations.trackers import Tracker
from unforced.reporting.progress import PlainLines, shares
from unforced.reporting.study_progress import Forecast, _study_view
from unforced.reporting.terminal import print_table
from unforced.runs.folder import RunFolder
from unforced.streams import BROKEN_PIPE, LastingStream
from unforced.studies.runner import Status

SHORT = ["max_steps=2", "evaluate_every=1", "num_test=20", "num_evaluate=20"]


@pytest.fixture
def config(tmp_path):
    write_json(tmp_path / "config.json", tiny_run(*SHORT).tree())
    return tmp_path / "config.json"


@pytest.mark.parametrize("stderr", ["/dev/full", "closed", None])
def test_a_run_finishes_where_progress_cannot_be_written_and_says_so_once(
    call, config, tmp_path, monkeypatch, stderr
):
    stream = stderr and io.TextIOWrapper(io.FileIO(os.devnull if stderr == "closed" else stderr, "w"))
    if stderr == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    code, output, _ = call("train", config, "--out", tmp_path / "run")
    assert code == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["steps"] == 2
    assert output.count("standard error cannot be written (") == 1
    assert sys.stderr is not stream or stream is None  # what the interpreter flushes at its end


def test_a_slow_run_says_once_how_long_it_takes(capsys):
    lines = PlainLines(quiet=False, steps=503, batch_size=16)
    for step in range(1, 6):
        lines.update(step, 1.0, 4.0)
    assert capsys.readouterr().err == (
        "step 3: 4.0 problems a second, 33 min for the 500 steps left, without evaluations\n"
    )
    PlainLines(quiet=False, steps=503, batch_size=16).update(3, 1.0, 4000.0)
    assert capsys.readouterr().err == ""


def test_json_stays_json_where_standard_error_fails(call, config, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    code, output, _ = call("train", config, "--out", tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(output)["steps"] == 2


def test_a_failed_tracker_is_named_where_it_can_be_and_harms_no_run(tmp_path, monkeypatch):

    run = train_tiny(tmp_path / "run")
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.FileIO("/dev/full", "w")))
    tracker = Tracker("tensorboard", run, RunFolder(tmp_path / "run"), PlainLines(quiet=False).say)
    monkeypatch.setattr("unforced.integrations.trackers.STARTERS", {"tensorboard": lambda *_: 1 / 0})
    tracker.catch_up()
    assert tracker.failed


def train_tiny(path):
    run = tiny_run(*SHORT)
    train(run, path)
    return run


@pytest.mark.parametrize(
    ("redirection", "code", "message"),
    [
        (">/dev/full", 75, "unforced: standard output cannot be written: No space left on device\n"),
        ("2>/dev/full", 0, ""),
        (">&-", 0, ""),
        ("--no-such-option 2>&-", 2, ""),
    ],
)
def test_the_exit_code_tells_whether_output_was_lost(redirection, code, message):
    command = f"set -o pipefail; {sys.executable} -m unforced --version {redirection}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (code, message)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_characters_that_the_output_lacks_are_replaced(call, tmp_path, monkeypatch, encoding):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding, newline="\n") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    folder = tmp_path / "Ωmega-✓"
    write_json(tmp_path / "config.json", tiny_run(*SHORT).tree())
    code, _, _ = call("train", tmp_path / "config.json", "--out", folder)
    monkeypatch.undo()
    printed = {name: stream.buffer.getvalue().decode(encoding) for name, stream in streams.items()}
    assert code == 0
    assert f"done: {tmp_path}/?mega-?" in printed["stdout"]
    assert "step 2: " in printed["stderr"]


def test_a_mistake_is_one_line_in_any_encoding(call, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", newline="\n")
    monkeypatch.setattr(sys, "stderr", stream)
    code, _, _ = call("train", "ελλ")
    monkeypatch.undo()
    stream.flush()
    assert code == 2
    assert stream.buffer.getvalue().startswith(b"unforced: unknown recipe '???'")


def test_a_lasting_stream_counts_what_it_drops_as_written():
    stream = LastingStream(None)
    assert stream.write("abc") == 3
    assert stream.reason == "it is closed"
    assert not stream.isatty()


HEADER = ["chance 50.0%", "exact", *(f"token_{i}" for i in range(10))]
ROWS = [
    [f"{split}, {mode}", "49.8% [48.4, 51.2]", *(f"{10 * i + 1.5:.1f}%" for i in range(10))]
    for split in ("train", "held-out")
    for mode in ("forced", "free")
]


def printed(width, header=HEADER, rows=ROWS, **options):
    """A table on a terminal that is so wide; None: in a file."""
    file = io.StringIO()
    terminal = Console(file=file, force_terminal=True, width=width, color_system=None, markup=False)
    if width is None:
        terminal = Console(file=file, width=1_000_000, markup=False)
    print_table(header, rows, to=terminal, **options)
    return file.getvalue().splitlines()


def test_a_table_in_a_file_has_its_own_width():
    lines = printed(None, numbers=True)
    assert [line.split() for line in lines] == [" ".join(row).split() for row in [HEADER, *ROWS]]
    assert max(map(len, lines)) > 120
    assert all(line == line.rstrip() for line in lines)


def test_a_table_on_a_terminal_is_folded_and_no_number_is_cut():
    for width in range(38, 130):
        lines = printed(width, numbers=True)
        assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        for cell in ROWS[0][1:]:  # the same in each row
            assert len(re.findall(rf"(?<![\d.]){re.escape(cell)}(?!\S)", text)) == len(ROWS), width
        for word in {word for name in [*HEADER, *(row[0] for row in ROWS)] for word in name.split()}:
            assert word in text


def test_words_on_a_terminal_are_wrapped_at_spaces():
    lines = printed(30, ["name", "what it is"], [["a", "quite a number of words that take some room"]])
    assert max(map(len, lines)) <= 30
    assert " ".join(" ".join(lines[1:]).split()) == "a quite a number of words that take some room"


def test_tables_of_every_verb_have_their_own_width_in_a_file(call, tmp_path):
    long = "a_rather_long_name_of_a_folder" * 4
    train_tiny(tmp_path / long)
    _, output, _ = call("show", tmp_path / long / "config.json")
    assert str(tmp_path / long / "config.json") in output.splitlines()
    assert re.search(
        r"^num_evaluate +20 +problems per split in each scheduled evaluation$", output, re.MULTILINE
    )
    _, output, _ = call("compare", tmp_path / long)
    assert re.search(r"^A .* \d+\.\d% .* to .*", output, re.MULTILINE)


def test_brackets_in_names_are_printed_as_they_are(call, tmp_path):
    folder = tmp_path / "[red]x[/red]" / "[/b]"
    folder.parent.mkdir(parents=True)
    run = tiny_run(*SHORT, "num_test=1600")
    train(run, folder)
    for verb in (["show", folder / "config.json"], ["evaluate", folder], ["diagnose", folder]):
        code, output, errors = call(*verb)
        assert code == 0, errors
        assert verb[0] == "evaluate" or str(folder) in output
    code, output, errors = call("train", folder / "config.json", "--out", tmp_path / "[bold]", "max_steps=1")
    assert (code, f"done: {tmp_path}/[bold] (1 steps)" in output) == (0, True), errors


def test_a_reader_that_has_read_enough_ends_nothing(monkeypatch, capsys):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    monkeypatch.undo()
    assert (exit_.value.code, capsys.readouterr().err) == (BROKEN_PIPE, "")


def test_live_progress_of_a_study_cuts_no_number(tmp_path):
    name = "a_rather_long_name_of_a_run_of_a_study" * 2
    run = tiny_run(*SHORT)
    train(run, tmp_path / name)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None, markup=False)
    view = _study_view({name: run}, {name: Status("done")}, Forecast({name: run}, tmp_path, None))
    console.print(view)
    line = RunFolder(tmp_path / name).read_metrics()[-1]
    for number in ("2/2", f"{line['loss']:.3f}", *map("/".join, shares(line))):
        assert number in file.getvalue()


def test_a_report_that_cannot_be_written_is_one_line(call, tmp_path, monkeypatch):
    train(tiny_run(*SHORT), tmp_path / "run")

    def read_only(*_):
        raise PermissionError(13, "Permission denied", str(tmp_path / "run" / "report"))

    monkeypatch.setattr("unforced.reporting.report.write_report", read_only)
    code, _, errors = call("report", tmp_path / "run")
    assert code == 2
    assert errors == (
        f"unforced: {tmp_path / 'run' / 'report'}: Permission denied; choose another folder with --to\n"
    )
