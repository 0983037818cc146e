"""The newest line of metrics.jsonl, read as the file grows."""

import json

from tests.runs import tiny_run, train
from unforced.runs.folder import RunFolder
from unforced.runs.tail import Tail


def test_a_tail_reads_what_was_appended_and_follows_a_file_that_is_replaced(tmp_path):
    train(tiny_run("max_steps=20"), tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    whole, tail = folder.metrics.read_bytes(), Tail(folder)
    first, second, third = whole.splitlines(keepends=True)
    folder.metrics.unlink()
    assert tail.latest() is None
    folder.metrics.write_bytes(first + second[:20])
    assert tail.latest()["step"] == 0
    with folder.metrics.open("r+b") as file:  # what was read is not read again
        file.write(b"?" * len(first))
        file.seek(0, 2)
        file.write(second[20:] + third)
    assert tail.latest() == json.loads(third)
    assert tail.latest() == json.loads(third)
    folder.metrics.write_bytes(first)  # shorter
    assert tail.latest()["step"] == 0
    draft = folder.metrics.with_name("draft")
    draft.write_bytes(whole)
    draft.replace(folder.metrics)
    assert tail.latest()["step"] == 20
    with folder.metrics.open("ab") as file:
        file.write(b"damaged\n")
    assert tail.latest() is None
