"""Diagnoses of several models on one page."""

import json


def diagnosis(title, exact, **more):
    settled = {
        "name": title.replace(" ", "_"),
        "title": title,
        "because": [f"{title} <because>"],
        "settle": "",
    }
    test = {
        "value": exact,
        "low": exact - 0.1,
        "high": exact + 0.1,
        "correct": int(100 * exact),
        "total": 100,
    }
    unknown = {"does_not_apply": "what needs lookahead is unknown"}
    problems = {"train": 100, "test": 100}
    found = {"verdict": settled, "problems": problems, "confidence": 0.95}
    return {**found, "exact": {"test": test}, "clever_hans": unknown, **more}


def test_measures_of_two_diagnoses_stand_in_one_row(tmp_path, call):
    run = tmp_path / "tuned"
    run.mkdir()
    files = run / "diagnosis.json", tmp_path / "plain.json"
    files[0].write_text(json.dumps(diagnosis("solved", 0.9)))
    files[1].write_text(json.dumps(diagnosis("memorised", 0.2, grokking={"multiple": 2.0}, model="folder")))
    code, told, errors = call("report", *files, "--to", tmp_path / "page")
    assert code == 0, errors
    assert told.splitlines()[:2] == ["tuned: solved", "plain: memorised"]
    page = (tmp_path / "page" / "index.html").read_text()
    assert "<td>90.0% [80.0, 100.0]  90 of 100</td><td>20.0% [10.0, 30.0]  20 of 100</td>" in page
    assert "<td></td><td>2.0</td>" in page
    assert "memorised &lt;because&gt;" in page
    assert "What applies to none of these: Clever Hans cheat." in page
    code, told, _ = call("report", *files, "--to", tmp_path / "page", "--json")
    assert json.loads(told)["verdicts"] == {"tuned": "solved", "plain": "memorised"}


def test_a_comparison_takes_diagnoses_alone(tmp_path, call):
    other = tmp_path / "result.json"
    other.write_text("{}")
    for arguments, line in {
        (other,): "with 1 files, say where the report goes: --to FOLDER",
        (other, "--to", tmp_path / "page"): "result.json: it is no diagnosis",
        (tmp_path / "none.json", "--to", tmp_path / "page"): "none.json: No such file",
        (other, tmp_path, "--to", tmp_path / "page"): "not both at once",
    }.items():
        code, _, errors = call("report", *arguments)
        assert code == 2
        assert line in errors
    assert not (tmp_path / "page").exists()
