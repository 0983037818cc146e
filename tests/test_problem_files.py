"""Problems in files: what is written comes back, and what cannot be read is named."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unforced.cli.data import export_problems, import_problems
from unforced.data.files import read_problems, write_problems
from unforced.errors import UserError
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems

LINE = "1,7|1,4|7,9|4,2/1,9=1,7,9"
TASK = PathStar(degree=2, path_length=3, num_nodes=300)
ORIGIN = {"seed": 4, "split": "test"}


@pytest.fixture(scope="module")
def some():
    return problems(TASK, 4, "test", 0, 12)


def text_file(folder, *lines):
    path = folder / "problems.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def table_file(folder, columns, metadata=None):
    path = folder / "problems.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def refusal(path, **options):
    """What reading a file is refused with, after the file's own name."""
    with pytest.raises(UserError) as error:
        read_problems(path, PathStar, **options)
    assert str(error.value).startswith(str(path))
    return str(error.value).removeprefix(str(path))


@pytest.mark.parametrize("order", ["forward", "reversed"])
@pytest.mark.parametrize("suffix", ["txt", "parquet", "jsonl"])
def test_problems_come_back_from_a_file(some, tmp_path, suffix, order):
    path = tmp_path / "new" / f"problems.{suffix}"
    write_problems(path, TASK, some, order)
    task, read, read_order = read_problems(path, PathStar, order, {"num_nodes": 300})
    assert (task, read_order) == (TASK, order)
    assert np.array_equal(task.prompts(read), TASK.prompts(some))
    assert np.array_equal(task.answers(read), TASK.answers(some))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_text_is_the_papers_lines(some, tmp_path):
    write_problems(tmp_path / "a.txt", TASK, some, "reversed")
    assert (tmp_path / "a.txt").read_text().splitlines() == TASK.lines(some, "reversed")


@pytest.mark.parametrize("order", ["forward", "reversed"])
def test_a_table_says_what_it_is(some, tmp_path, order):
    path = tmp_path / "a.parquet"
    write_problems(path, TASK, some, order, ORIGIN)
    task, _, read_order = read_problems(path, PathStar)
    assert (task, read_order) == (TASK, order)
    metadata = json.loads(pq.read_schema(path).metadata[b"unforced"])
    assert metadata == {"task": TASK.model_dump(), "order": order, **ORIGIN}


def test_a_table_and_json_hold_text_symbols_and_marks(tmp_path):
    task, one = PathStar.read_lines([LINE], "line", known={"num_nodes": 10})
    row = {
        "prompt": "1,7|1,4|7,9|4,2/1,9=",
        "answer": "1,7,9",
        "prompt_symbols": [1, 7, 10, 1, 4, 10, 7, 9, 10, 4, 2, 12, 1, 9, 11],
        "answer_symbols": [1, 7, 9],
    }
    marks = {"decisive": [False, True, False], "given_away": [False, False, True]}
    turned = row | {"answer": "9,7,1", "answer_symbols": [9, 7, 1]}  # where nothing is decided ahead
    for order, expected in (("forward", row | marks), ("reversed", turned)):
        table, objects = (tmp_path / f"{order}.{suffix}" for suffix in ("parquet", "jsonl"))
        write_problems(table, task, one, order)
        write_problems(objects, task, one, order)
        assert pq.read_table(table).to_pylist() == [expected]
        assert [json.loads(line) for line in objects.read_text().splitlines()] == [expected]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{", ":1: not JSON"),
        ('{"prompt": "1,2/1,2="}', ":1: not an object with prompt and answer"),
        ("[1]", ":1: not an object with prompt and answer"),
        (
            '{"prompt": "1,2/1,2=", "answer": "1,2", "answer_symbols": [1, 1]}',
            ":1: its answer_symbols are not",
        ),
        (
            '{"prompt": "1,2/1,2=", "answer": "1,2", "answer_symbols": [1, 2]}\n'
            '{"prompt": "1,2/1,2=", "answer": "1,2"}',
            ": 1 of its 2 objects have answer_symbols; all or none must",
        ),
    ],
)
def test_json_lines_that_are_damaged_are_named(tmp_path, text, mistake):
    path = tmp_path / "a.jsonl"
    path.write_text(f"{text}\n")
    assert refusal(path).startswith(mistake)


def test_json_lines_are_exported_by_the_command(call, tmp_path):
    export = "data", "export", "quickstart.next_token", "--count", "3"
    assert call(*export, "--to", tmp_path / "a.jsonl")[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert all(len(row["decisive"]) == len(row["answer_symbols"]) for row in rows)
    assert call("data", "import", tmp_path / "a.jsonl")[0] == 0


def test_a_table_of_another_maker_needs_two_columns_of_text(tmp_path):
    path = table_file(tmp_path, {"prompt": ["1,2|1,3/1,2="], "answer": ["1,2"], "note": [1]})
    assert read_problems(path, PathStar)[0] == PathStar(degree=2, path_length=2, num_nodes=4)


def test_text_does_not_tell_the_labels_that_it_does_not_use(tmp_path):
    path = text_file(tmp_path, "", LINE, "  ", LINE + " ")
    task, read, order = read_problems(path, PathStar)
    assert (task, len(read), order) == (PathStar(degree=2, path_length=3, num_nodes=10), 2, "forward")
    assert read_problems(path, PathStar, None, {"num_nodes": 50})[0].num_nodes == 50


@pytest.mark.parametrize("suffix", ["txt", "parquet", "jsonl"])
def test_a_file_is_never_overwritten(some, tmp_path, suffix):
    path = tmp_path / f"mine.{suffix}"
    path.write_text("mine")
    with pytest.raises(UserError, match="exists; nothing was written, choose another out="):
        write_problems(path, TASK, some, "forward")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]


MALFORMED = {
    "nonsense": "expected a,b|c,d/start,goal=path",
    "1,2/1,2": "expected a,b|c,d/start,goal=path",
    "1,2=1,2": "expected a,b|c,d/start,goal=path",
    "1,2,3/1,2=1,2": "'1,2,3' is not a pair a,b",
    "1,2/1=1,2": "'1' is not a pair a,b",
    "1,x/1,2=1,2": "'1,x' is not a comma-separated list of node labels",
    "1,-2/1,2=1,2": "'1,-2' is not a comma-separated list of node labels",
    "1,²/1,2=1,2": "'1,²' is not a comma-separated list of node labels",
    "1, 2/1,2=1,2": "'1, 2' is not a comma-separated list of node labels",
    "/1,2=1,2": "'' is not a comma-separated list of node labels",
    "1,2/1,2=1,2=": "'1,2=' is not a comma-separated list of node labels",
    "1,2/5,2=5,2": "some edges are on no arm that leaves the start 5",
    "1,2|3,4/1,2=1,2": "some edges are on no arm that leaves the start 1",
    "1,2|3,4|4,3/1,2=1,2": "some edges are on no arm that leaves the start 1",
    "1,2|2,1/1,2=1,2": "the edge 2,1 closes a cycle",
    "1,1/1,1=1,1": "the edge 1,1 closes a cycle",
    "1,2|1,2/1,2=1,2": "the edge 1,2 is written twice",
    "1,7|1,4|7,9|4,2|7,9/1,9=1,7,9": "the edge 7,9 is written twice",
    "1,2|1,3|2,4|3,4/1,4=1,2,4": "a node occurs on two arms",
    "1,2|1,3|2,4|2,5/1,4=1,2,4": "node 2 has 2 children; only the start may branch",
    "1,2|1,3|2,4/1,4=1,2,4": "the arms differ in length",
    "1,2|1,3/1,4=1,4": "the goal 4 is not the end of an arm",
    "1,7|1,4|7,9|4,2/1,7=1,7": "the goal 7 is not the end of an arm",
    "1,7|1,4|7,9|4,2/1,9=1,4,2": "the answer 1,4,2 is not the path 1,7,9",
    "1,7|1,4|7,9|4,2/1,9=9,7,1": "the answer 9,7,1 is not the path 1,7,9",
    "1,2|1,3/1,2=1,2": "it is G(2, 2), but the first line is G(2, 3)",
    "1,2|2,3/1,3=1,2,3": "it is G(1, 3), but the first line is G(2, 3)",
}


@pytest.mark.parametrize("line", MALFORMED)
def test_a_malformed_line_is_named_with_the_reason(tmp_path, line):
    path = text_file(tmp_path, LINE, "", line, "nonsense")
    assert refusal(path) == f":3: not a path-star problem: {MALFORMED[line]}"


def test_a_malformed_row_of_a_table_is_named(tmp_path):
    rows = {"prompt": ["1,2|1,3/1,2=", None], "answer": ["1,2", "1,3"]}
    assert refusal(table_file(tmp_path, rows)).startswith(":2: not a path-star problem: ")


@pytest.mark.parametrize("label", [2**31, 10**20, "9" * 5000])
def test_a_label_too_large_to_store_is_refused(tmp_path, label):
    assert refusal(text_file(tmp_path, LINE, f"1,{label}/1,{label}=1,{label}")).startswith(":2: ")
    assert refusal(text_file(tmp_path, f"1,{label}/1,{label}=1,{label}")).startswith(":1: ")


def test_answers_in_the_other_order_are_refused(some, tmp_path):
    write_problems(tmp_path / "a.txt", TASK, some, "reversed")
    assert refusal(tmp_path / "a.txt").startswith(":1: not a path-star problem: the answer ")


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_problems_is_refused(tmp_path, content):
    path = tmp_path / "empty.txt"
    path.write_text(content)
    assert refusal(path) == ": no problems in it"


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ({"num_nodes": 9}, ":1: not a path-star problem: label 9 does not fit num_nodes 9"),
        ({"degree": 3}, ": its problems have degree=2, not 3"),
        ({"num_nodes": 50, "path_length": 4}, ": its problems have path_length=3, not 4"),
    ],
)
def test_what_is_known_of_the_task_must_be_true(tmp_path, known, reason):
    assert refusal(text_file(tmp_path, LINE), known=known) == reason


def test_more_labels_than_a_task_has_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"^num_nodes: Input should be less than .*, not 99999999999$"):
        read_problems(text_file(tmp_path, LINE), PathStar, known={"num_nodes": 99999999999})
    label = 123_456_789
    reason = f"label {label} does not fit num_nodes 10000000"
    assert refusal(text_file(tmp_path, LINE, f"1,7|1,4|7,{label}|4,2/1,{label}=1,7,{label}")) == (
        f":2: not a path-star problem: {reason}"
    )


def test_a_graph_larger_than_a_task_has_is_refused(tmp_path):
    star = "|".join(f"0,{leaf}" for leaf in range(1, 10_001))
    assert refusal(text_file(tmp_path, f"{star}/0,1=0,1")) == (
        ":1: not a path-star problem: a graph of 10001 nodes, more than 10000"
    )
    assert (
        read_problems(text_file(tmp_path, f"{star.rpartition('|')[0]}/0,1=0,1"), PathStar)[0].degree == 9999
    )


@pytest.mark.parametrize(
    "known", [{"num_node": 50}, {"num_nodes": "many"}, {"num_nodes": 50.5}, {"sample": 1}]
)
def test_what_cannot_be_a_field_of_the_task_is_refused(tmp_path, known):
    with pytest.raises(UserError, match=r"num_node|sample") as error:
        read_problems(text_file(tmp_path, LINE), PathStar, known=known)
    assert "bound method" not in str(error.value)


def test_a_name_with_another_suffix_is_refused(some, tmp_path):
    path = tmp_path / "problems.csv"
    reason = ": unknown format '.csv'; use a name that ends in .txt, .parquet or .jsonl"
    assert refusal(path) == reason
    with pytest.raises(UserError) as error:
        write_problems(path, TASK, some, "forward")
    assert str(error.value) == f"{path}{reason}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["txt", "parquet", "jsonl"])
def test_a_missing_file_is_named(tmp_path, suffix):
    assert refusal(tmp_path / f"absent.{suffix}") == ": no such file"


@pytest.mark.parametrize("suffix", ["txt", "parquet", "jsonl"])
def test_a_folder_is_called_one(tmp_path, suffix):
    path = tmp_path / f"dir.{suffix}"
    path.mkdir()
    assert refusal(path) == ": a folder, not a file"


def test_text_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + f"{LINE}\n".encode())
    assert len(read_problems(path, PathStar)[1]) == 1


def altered(path, column, row, symbol):
    """Write a table anew with one symbol changed."""
    table = pq.read_table(path)
    columns = table.to_pydict()
    columns[column][row][0] = symbol
    pq.write_table(pa.table(columns).replace_schema_metadata(table.schema.metadata), path)


@pytest.mark.parametrize("order", ["forward", "reversed"])
@pytest.mark.parametrize("column", ["prompt_symbols", "answer_symbols"])
def test_symbols_that_contradict_the_text_are_refused_with_the_row(some, tmp_path, column, order):
    path = tmp_path / "a.parquet"
    write_problems(path, TASK, some, order)
    altered(path, column, 6, 299)
    assert refusal(path) == f":7: its {column} are not those of its text"


def test_symbols_are_those_of_the_labels_that_the_table_was_written_with(some, tmp_path):
    path = tmp_path / "a.parquet"
    write_problems(path, TASK, some, "forward")
    assert read_problems(path, PathStar, known={"num_nodes": 400})[0].num_nodes == 400


def test_symbols_are_checked_where_a_row_is_blank(tmp_path):
    rows = {"prompt": ["", "1,2|1,3/1,2="], "answer": ["", "1,2"], "answer_symbols": [[], [1, 3]]}
    assert refusal(table_file(tmp_path, rows)) == ":2: its answer_symbols are not those of its text"


def test_metadata_of_another_shape_is_refused(some, tmp_path):
    path = tmp_path / "a.parquet"
    write_problems(path, TASK, some, "forward", {"task": {"degree": 3}})
    assert refusal(path) == ": its problems have degree=2, not 3"
    assert refusal(path, known={"degree": 2}).startswith(": its metadata says path-star G(3,3)")


def test_long_files_are_written_in_parts_that_join(some, tmp_path, monkeypatch):
    for name in ("a.txt", "a.parquet"):
        write_problems(tmp_path / name, TASK, some, "forward", ORIGIN)
    monkeypatch.setattr("unforced.data.files._PART", 5)
    for name in ("b.txt", "b.parquet"):
        write_problems(tmp_path / name, TASK, some, "forward", ORIGIN)
    assert (tmp_path / "b.txt").read_bytes() == (tmp_path / "a.txt").read_bytes()
    assert pq.read_table(tmp_path / "b.parquet") == pq.read_table(tmp_path / "a.parquet")


def test_more_problems_than_a_file_takes_are_refused_at_once(tmp_path):
    with pytest.raises(
        UserError, match=r"^--count: a file takes at most \d+ problems of path-star .*, not 10{12}$"
    ):
        export_problems("quickstart.next_token", tmp_path / "a.txt", [], "test", 10**12)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"1,2/1,2=1,2\n" * 50])
def test_what_is_no_parquet_is_refused(tmp_path, content):
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    assert refusal(path).startswith(": not a Parquet file: ")


def test_a_damaged_table_is_one_line(some, tmp_path):
    path = tmp_path / "a.parquet"
    write_problems(path, TASK, some, "forward")
    content = bytearray(path.read_bytes())
    content[10:60] = b"\xff" * 50
    path.write_bytes(content)
    assert "\n" not in refusal(path)


def test_what_is_no_text_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(f"{LINE}\nα\n".encode("latin-1", "replace") + b"\xe9\n")
    assert refusal(path) == ": line 3 is not UTF-8 text; save it as UTF-8"
    for encoding in ("utf-16", "utf-16-be"):
        path.write_bytes((LINE if encoding == "utf-16" else f"\ufeff{LINE}").encode(encoding))
        assert refusal(path) == ": it is UTF-16; save it as UTF-8"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("suffix", ["txt", "parquet", "jsonl"])
def test_a_pipe_is_called_one(tmp_path, suffix):
    os.mkfifo(tmp_path / f"a.{suffix}")
    reason = ": a pipe or a device; write its content to a file, and give that"
    assert refusal(tmp_path / f"a.{suffix}") == reason


def test_a_suffix_in_capitals_is_known(some, tmp_path):
    for name in ("A.TXT", "a.Parquet"):
        write_problems(tmp_path / name, TASK, some, "forward")
        assert len(read_problems(tmp_path / name, PathStar)[1]) == len(some)
    assert (tmp_path / "A.TXT").read_text().splitlines() == TASK.lines(some)


def test_a_table_without_the_columns_is_refused(tmp_path):
    path = table_file(tmp_path, {"prompt": ["1,2/1,2="], "path": ["1,2"]})
    assert refusal(path) == ": no column 'answer'; it needs prompt and answer"


@pytest.mark.parametrize("metadata", ["{", "3", '{"task": 3}', '{"order": "backward"}'])
def test_a_table_whose_metadata_is_damaged_is_refused(tmp_path, metadata):
    rows = {"prompt": ["1,2|1,3/1,2="], "answer": ["1,2"]}
    assert refusal(table_file(tmp_path, rows, {"unforced": metadata})).startswith(": ")


def test_a_file_that_does_not_say_its_order_has_the_default_one(some, tmp_path):
    for name in ("a.txt", "a.parquet"):
        write_problems(tmp_path / name, TASK, some, "reversed")
        assert read_problems(tmp_path / name, PathStar, default_order="reversed")[2] == "reversed"
    write_problems(tmp_path / "b.parquet", TASK, some, "forward")
    assert read_problems(tmp_path / "b.parquet", PathStar, default_order="reversed")[2] == "forward"


@pytest.mark.parametrize("name", ["mine/a.txt", "mine/new/a.parquet", f"{'a' * 300}.txt"])
def test_a_place_that_cannot_be_written_is_refused(some, tmp_path, name):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UserError, match="nothing was written, choose another out="):
        write_problems(tmp_path / name, TASK, some, "forward")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_no_more_is_exported_of_a_training_set_than_it_has(tmp_path):
    with pytest.raises(UserError, match=r"^--count: the training set has num_train=10 problems, not 11$"):
        export_problems("paper_gpt_mini", tmp_path / "a.txt", ["num_train=10"], "train", 11)
    export_problems("paper_gpt_mini", tmp_path / "a.txt", ["num_train=10"], "train", 10)
    assert len((tmp_path / "a.txt").read_text().splitlines()) == 10


@pytest.mark.parametrize("suffix", ["txt", "parquet", "jsonl"])
def test_export_and_import_agree(tmp_path, capsys, suffix):
    first, second = tmp_path / "a.txt", tmp_path / f"b.{suffix}"
    export_problems("quickstart.next_token", first, ["seed=5"], "test", 30)
    import_problems(first, second, known=["num_nodes=9"])
    capsys.readouterr()
    import_problems(second, known=["num_nodes=9"], as_json=True)
    facts = json.loads(capsys.readouterr().out)
    assert facts["task"] == PathStar(degree=2, path_length=4, num_nodes=9).model_dump()
    assert (facts["problems"], facts["order"]) == (30, "forward")
    assert facts["owned_by"] == {"train": 0, "validation": 0, "test": 30}
    assert facts["distinct"] == len(set(first.read_text().splitlines())) == 30
