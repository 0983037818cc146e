"""Diagnoses of several models on one page."""

import json
import re

from unforced.reporting.page.position_chart import position_chart


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
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in page.split("<tr")]
    assert ["90.0% [80.0, 100.0]  90 of 100", "20.0% [10.0, 30.0]  20 of 100"] in cells
    assert ["", "2.0"] in cells
    assert ["100 held-out, 100 training; intervals at 95%"] * 2 in cells
    assert "memorised &lt;because&gt;" in page
    assert "What applies to none of these: Clever Hans cheat." in page
    code, told, _ = call("report", *files, "--to", tmp_path / "page", "--json")
    assert json.loads(told)["verdicts"] == {"tuned": "solved", "plain": "memorised"}


def test_a_chart_draws_each_position_at_its_share_and_says_what_it_draws():
    def share(value):
        return {"value": value, "low": value - 0.1, "high": value, "correct": 1, "total": 2}

    chart = position_chart(
        {
            "positions": {
                "token_0": {"forced": share(0.5), "free": share(0.25), "first_error": share(0.75)},
                "tokens_1_to_3": {"forced": share(1.0), "free": share(0.75)},
            }
        }
    )
    height = {label: y for y, label in chart.levels}
    assert [label for _, label in chart.ticks] == ["0", "1"]
    assert chart.x_title.endswith("the first of each range")
    assert [dot.y for dot in chart.forced] == [height["50%"], height["100%"]]
    assert [dot.y for dot in chart.free] == [height["25%"], height["75%"]]
    assert all(dot.low > dot.y == dot.high for dot in chart.free)
    [(left, top, width, tall, _)] = chart.bars
    assert (top, top + tall) == (height["75%"], height["0%"])
    assert left < chart.ticks[0][0] < left + width
    assert "position 1–3, free-running: 75.0% [65.0, 75.0]" in chart.summary
    assert position_chart({"positions": {"does_not_apply": "of a set"}}) is None


def test_a_comparison_takes_diagnoses_alone(tmp_path, call):
    other, damaged = tmp_path / "result.json", tmp_path / "damaged.json"
    other.write_text("{}")
    damaged.write_text(json.dumps(diagnosis("solved", 0.9, reliance={"given": {"low": None}})))
    for arguments, line in {
        (damaged, "--to", tmp_path / "page"): "damaged.json: its section 'reliance' is damaged",
        (other,): "with 1 files, say where the report goes: --to FOLDER",
        (other, "--to", tmp_path / "page"): "result.json: it is no diagnosis",
        (tmp_path / "none.json", "--to", tmp_path / "page"): "none.json: No such file",
        (other, tmp_path, "--to", tmp_path / "page"): "not both at once",
    }.items():
        code, _, errors = call("report", *arguments)
        assert code == 2
        assert line in errors
    assert not (tmp_path / "page").exists()
