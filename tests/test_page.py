"""The page: what is written of which runs, and that it works in a real browser."""

import hashlib
import json
import os
import re
import shutil
from importlib.resources import files
from itertools import chain
from statistics import median

import pytest

from tests.runs import tiny_run
from unforced.reporting.expectations_table import judge_studies
from unforced.reporting.load import collect_runs
from unforced.reporting.page import write_page
from unforced.runs.folder import RunFolder
from unforced.runs.groups import group_runs

STAR = ["task.degree=3", "task.num_nodes=9"]
RUNS = {
    "star": STAR,
    "reversed": [*STAR, "order=reversed"],
    "teacherless": ["objective=teacherless"],
    "sums": ["task=addition"],
    "untraced": ["seed=1"],
}
SEVERAL = {
    "siblings": ["task=sibling", "task.parents=2", "task.children=6", "task.seed_length=2", "max_steps=80"],
    "paths": ["task=dag_paths", "task.num_nodes=20", "task.edge_probability=0.3", "max_steps=80"],
}
NUM_SEEDS = 3
CONFIGURATIONS = {
    "fixed": [],
    "stream": ["stream=true"],
    "reversed": ["order=reversed"],
    "wide": STAR,
}
FIXED = {"stream": False, "order": "forward", "task.degree": 2}
EXPECTED = {"measure": "test.free.exact", "tolerance": 0.0, "relation": "at_most", "value": 1.0}
IMPOSSIBLE = {"relation": "at_least", "value": 1.01}
EXPECTATIONS = [
    {**EXPECTED, "group": "fixed ones", "select": FIXED},
    {**EXPECTED, "group": "backwards", "select": {"order": "reversed"}, **IMPOSSIBLE},
    {**EXPECTED, "group": "wide ones", "select": {"task.degree": 3}},
]
AGAIN = "diagnose it again"
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, trained):
    """Finished runs; the last has no traces."""
    root = tmp_path_factory.mktemp("runs")
    for name, overrides in RUNS.items():
        trained(tiny_run(*overrides), root / name)
    (root / "untraced" / "traces.json").unlink()
    return [root / name for name in RUNS]


@pytest.fixture(scope="module")
def study(tmp_path_factory, trained):
    """The folder of a study: configurations that differ in data, order or task, with seeds."""
    folder = tmp_path_factory.mktemp("study") / "study"
    for name, overrides in CONFIGURATIONS.items():
        for seed in range(NUM_SEEDS):
            trained(tiny_run(*overrides, f"seed={seed}"), folder / f"{name}-{seed}")
    expectations = [{**expectation, "source": "A paper: Table 1"} for expectation in EXPECTATIONS]
    content = {"name": "mine", "source": "A paper", "runs": {}, "expectations": expectations}
    (folder / "study.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def runs_file(folders, tmp_path_factory):
    """The page about all runs."""
    return write(folders, tmp_path_factory.mktemp("page") / "report" / "index.html")[0]


@pytest.fixture(scope="module")
def study_file(study, tmp_path_factory):
    """The page about the study."""
    return write([study], tmp_path_factory.mktemp("page") / "study.html")[0]


@pytest.fixture(scope="module")
def several_file(tmp_path_factory, trained):
    """The page about runs whose problems have several right answers."""
    root = tmp_path_factory.mktemp("several")
    for name, overrides in SEVERAL.items():
        trained(tiny_run(*overrides), root / name)
    return write([root], root / "index.html")[0]


@pytest.fixture
def copy(folders, tmp_path):
    """A run's folder, to be damaged."""
    return shutil.copytree(folders[0], tmp_path / "copy")


def write(folders, to):
    """Write the page of what a report collects; return its file and its notes."""
    collection = collect_runs(folders)
    judged, refused = judge_studies(collection)
    skipped = {**collection.skipped, **refused}
    return to, write_page(group_runs(collection.runs), to, judged, collection.studies, skipped)


def embedded(file):
    """The data in a page."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', file.read_text(), re.S)
    return json.loads(data)


def diagnose(folder, verdict, **sections):
    """Write a diagnosis with a verdict, and these sections."""
    content = {"verdict": {**verdict, "because": ["of this"], "settle": ""}}
    content |= {"clever_hans": {}, "indecipherable_token": {}, **sections}
    (folder / "diagnosis.json").write_text(json.dumps(content))


# What is written


def test_a_page_holds_what_the_run_folders_say(folders, runs_file):
    data = embedded(runs_file)
    runs = {run["name"]: run for run in data["runs"]}
    assert set(runs) == {path.name for path in folders}
    for path in folders:
        folder, run = RunFolder.open(path), runs[path.name]
        result, lines = folder.read_result(), folder.read_metrics()
        assert run["free"]["value"] == pytest.approx(result["test.free.exact"]["value"], abs=1e-4)
        assert run["forced_tokens"][1] == pytest.approx(result["test.forced.token_1"]["value"], abs=1e-4)
        assert run["curves"]["samples"] == [line["samples"] for line in lines]
        last = lines[-1]["validation.free.token_1"]
        assert run["curves"]["token_1"][-1] == pytest.approx(last["correct"] / last["total"], abs=1e-4)
        assert (run["traces"] is None) == (path.name == "untraced")
        assert run["verdict"] is None
        assert data["groups"][run["group"]]["task"] == str(folder.run().task)


def test_a_group_holds_the_spread_of_its_seeds_and_their_verdicts(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "study")
    for seed in range(2):
        diagnose(copy / f"stream-{seed}", {"name": "memorised", "title": "memorised"})
    data = embedded(write([copy], tmp_path / "index.html")[0])
    assert len(data["groups"]) == len(CONFIGURATIONS)
    (number,) = [i for i, group in enumerate(data["groups"]) if group["data"] == "a stream"]
    group = data["groups"][number]
    results = [RunFolder.open(copy / f"stream-{seed}").read_result() for seed in range(NUM_SEEDS)]
    exact = sorted(result["test.free.exact"]["value"] for result in results)
    assert [group["free"][key] for key in ("low", "median", "high")] == pytest.approx(exact, abs=1e-4)
    assert sorted(group["free"]["values"]) == pytest.approx(exact, abs=1e-4)
    first = median(result["test.forced.token_1"]["value"] for result in results)
    assert group["forced_tokens"][1] == pytest.approx(first, abs=1e-4)
    assert (group["solved"], group["chance"], group["facet"]) == (0, 0.5, "G(2,3), gpt")
    assert group["verdicts"] == [{"name": "memorised", "title": "memorised", "count": 2}]
    curves = [run["curves"] for run in data["runs"] if run["group"] == number]
    assert group["curves"]["samples"] == curves[0]["samples"]
    for measure in ("exact", "token_1", "train"):
        low, middle, high = zip(
            *map(sorted, zip(*(curve[measure] for curve in curves), strict=True)), strict=True
        )
        spread = {"median": list(middle), "low": list(low), "high": list(high), "seeds": [3] * len(low)}
        assert group["curves"][measure] == spread


def test_a_page_holds_what_a_study_expects(study_file):
    data = embedded(study_file)
    assert data["studies"] == [{"name": "mine", "source": "A paper"}]
    claims = {claim["runs"]: claim for claim in data["claims"]}
    assert claims["fixed ones"]["verdict"] == "not enough seeds"
    assert claims["fixed ones"]["measure"] == "held-out, free-running"
    assert claims["fixed ones"]["source"] == "Table 1"  # without the words of the study's own source
    assert (claims["backwards"]["holds"], claims["backwards"]["total"]) == (0, NUM_SEEDS)
    orders = {name: [data["groups"][i]["order"] for i in claim["groups"]] for name, claim in claims.items()}
    assert orders == {"fixed ones": ["forward"], "backwards": ["reversed"], "wide ones": ["forward"]}


@pytest.mark.parametrize("content", ["", '{"order": "forward", "reads_answers": true}'])
def test_damaged_traces_are_left_out(copy, tmp_path, content):
    (copy / "traces.json").write_text(content)
    file, (line,) = write([copy], tmp_path / "index.html")
    assert str(copy / "traces.json") in line
    assert [run["traces"] for run in embedded(file)["runs"]] == [None]


def test_the_page_names_what_the_report_skips_and_what_is_not_there(folders, copy, tmp_path):
    (copy / "result.json").write_text("{\n")
    file, notes = write([copy, *folders[-2:]], tmp_path / "index.html")
    assert notes == [f"{folders[-1]}: no traces to explore: it has no traces.json"]
    assert f"<li>{copy}: left out: " in file.read_text()
    assert f"<li>{notes[0]}</li>" in file.read_text()
    assert [run["name"] for run in embedded(file)["runs"]] == ["untraced", "sums"]


def test_names_cannot_break_out_of_the_data(copy, tmp_path):
    nasty = copy.rename(tmp_path / "<script>alert(1)< {{ 7 * 7 }}")
    (nasty / "traces.json").unlink()
    file, _ = write([nasty], tmp_path / "index.html")
    assert embedded(file)["runs"][0]["name"] == nasty.name
    assert "<script>alert" not in file.read_text()


def test_the_page_needs_no_network_and_carries_the_licence_of_its_chart_library(runs_file):
    text, uplot = runs_file.read_text(), files("unforced.reporting.page") / "vendor" / "uplot"
    provenance = json.loads((uplot / "provenance.json").read_text())
    for name in ("LICENSE", "uPlot.iife.min.js", "uPlot.min.css"):
        content = (uplot / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == provenance["sha256"][name]
        assert content.decode() in text
    addresses = set(re.findall(r"\w+://[^\s\"'`]+", text))
    assert addresses == {"http://www.w3.org/2000/svg", "https://github.com/leeoniya/uPlot"}  # never loaded
    assert "default-src 'none'" in text
    assert text.count("</script>") == 3


# In a browser


def find_browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing = f"none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path


@pytest.fixture(scope="module")
def context():
    executable = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser.new_context(viewport=DESK, reduced_motion="reduce")
        browser.close()


@pytest.fixture
def open_file(context):
    """Open a page's file; whatever it logs, throws or asks a network for fails the test."""
    pages, messages, requests, opened = [], [], [], []

    def open_file(file, viewport=DESK):
        page = context.new_page()
        pages.append(page)
        opened.append(file.as_uri())
        page.set_viewport_size(viewport)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_file
    for page in pages:
        page.close()
    assert messages == []
    assert {url.partition("#")[0] for url in requests} <= {*opened, "data:,"}


@pytest.fixture
def page(open_file, runs_file):
    return open_file(runs_file)


@pytest.fixture
def study_page(open_file, study_file):
    return open_file(study_file)


def explore(page, name):
    page.locator("#explore-run").select_option(label=name)


def text(page, selector):
    return page.locator(selector).inner_text()


def step(page):
    return int(re.search(r"step (\d+) of", text(page, "#step-name"))[1])


def rows(page, table="runs"):
    return [text.strip() for text in page.locator(f"#{table} tbody tr:visible th").all_inner_texts()]


def column(page, table, title):
    return page.locator(f"#{table} tbody td[data-label='{title}']").all_inner_texts()


def options(page, select):
    return page.locator(f"{select} option").all_inner_texts()


def lines(page, chart="chart-groups"):
    """The lines of a chart as uPlot has them: members first, then the curve of each series."""
    return page.evaluate(
        """id => { const { plot } = document.getElementById(id);
                   return plot && plot.series.slice(1).map((line, i) => ({
                       name: line.label, alpha: line.alpha, width: line.width, dash: line.dash.join(),
                       colour: line.stroke(plot, i + 1),
                       y: Array.from(plot.data[i + 1], (y) => y ?? null) })) }""",
        chart,
    )


def curves(page, chart="chart-groups"):
    return [line for line in lines(page, chart) if not line["name"].startswith("seed ")]


def test_filters_leave_the_runs_that_match_everywhere(page):
    assert set(rows(page)) == set(RUNS)
    page.get_by_label("objective").select_option("teacherless")
    assert rows(page) == ["teacherless"]
    assert text(page, "#run-count") == f"1 of {len(RUNS)} runs, 1 of 5 configurations: objective teacherless"
    assert len(curves(page)) == 1
    page.get_by_label("objective").select_option("")
    page.get_by_label("task").select_option(label="path-star G(3,3) with 9 labels")
    assert set(options(page, "#explore-run")) == set(options(page, "#curve-run")) == {"star", "reversed"}
    page.get_by_label("order").select_option("reversed")
    assert options(page, "#explore-run") == options(page, "#curve-run") == rows(page) == ["reversed"]
    assert "written backwards" in text(page, "#step-name")  # the run shown is the one that matches
    page.get_by_label("task").select_option(label="addition of 4 digits in base 10")
    assert rows(page) == rows(page, "groups") == []
    assert text(page, "#run-count") == "No run matches: task addition of 4 digits in base 10, order reversed."
    assert lines(page) is None
    for selector in ("#curves-nothing", "#explore-nothing"):
        assert text(page, selector) == "No run matches the filters."
    assert page.locator("#explore-panel").is_hidden()
    page.get_by_role("button", name="Show all runs").click()
    assert set(rows(page)) == set(RUNS)
    assert page.locator("#show-all").is_hidden()
    assert page.locator("#explore-panel").is_visible()
    assert page.get_by_label("order").input_value() == ""


def test_configurations_without_a_filter_of_their_own_get_one_of_all_settings(
    open_file, study_page, tmp_path, trained
):
    study_page.get_by_label("data").select_option("a stream")
    assert len(rows(study_page, "groups")) == 1
    assert rows(study_page) == [f"stream-{seed}" for seed in range(NUM_SEEDS)]
    for rate in ("1e-2", "1e-3"):
        trained(tiny_run(f"learning_rate={rate}"), tmp_path / "runs" / rate)
    page = open_file(write([tmp_path / "runs"], tmp_path / "rates.html")[0])
    page.get_by_label("settings").select_option(index=1)
    assert len(rows(page, "groups")) == len(rows(page)) == 1


def test_the_head_of_a_column_sorts_and_a_phone_has_a_list_for_it(page):
    page.locator("#runs").get_by_role("button", name="seed").click()
    assert column(page, "runs", "seed") == ["0", "0", "0", "0", "1"]
    page.locator("#runs").get_by_role("button", name="seed").click()
    assert column(page, "runs", "seed") == ["1", "0", "0", "0", "0"]
    assert page.locator("#runs thead th[aria-sort]").count() == 1
    page.set_viewport_size(PHONE)
    assert page.locator("#groups thead").is_hidden()
    in_order = column(page, "groups", "exact match, free-running")
    page.locator("#groups-sort select").select_option(label="exact match, free-running ↓")
    cells = column(page, "groups", "exact match, free-running")
    accuracies = [float(cell.partition("%")[0]) for cell in cells]
    assert accuracies == sorted(accuracies, reverse=True)
    assert page.locator("#groups th[aria-sort=descending]").count() == 1
    page.locator("#groups-sort select").select_option(label="as it comes")
    assert column(page, "groups", "exact match, free-running") == in_order


def test_a_phone_shows_configurations_first_and_folds_long_parts(open_file, study_file):
    page = open_file(study_file, PHONE)
    assert len(rows(page, "groups")) == len(CONFIGURATIONS)
    assert rows(page) == []
    assert text(page, "#runs-folded") == "12 runs"
    assert page.locator("#claims table").is_hidden()
    top = page.evaluate("document.getElementById('explorer').offsetTop")
    assert top < 900 + 300 * len(CONFIGURATIONS) + 1700  # the filters, the groups, the two charts
    page.get_by_role("link", name="Explorer").click()
    assert page.evaluate("document.getElementById('explorer').getBoundingClientRect().top") < 100
    assert page.get_by_role("link", name="Overview").bounding_box()["y"] < 100  # still in sight
    page.locator("#runs-details summary").click()
    assert len(rows(page)) == 12


def test_configurations_show_the_outcomes_of_their_seeds(study_page, study_file):
    groups = embedded(study_file)["groups"]
    for group, row in zip(groups, study_page.locator("#groups tbody tr").all(), strict=True):
        cell = row.locator("td[data-label='exact match, free-running']")
        free = {key: f"{100 * group['free'][key]:.1f}" for key in ("median", "low", "high")}
        assert cell.inner_text().startswith(f"{free['median']}% ({free['low']} to {free['high']})")
        assert f"chance {100 * group['chance']:.1f}%" in cell.inner_text()
        assert row.locator(".strip circle").count() == NUM_SEEDS
        assert row.locator("td[data-label=solved]").inner_text() == f"0 of {NUM_SEEDS}"


def test_expectations_are_shown_with_what_was_measured(
    page, study_page, open_file, study, tmp_path, monkeypatch
):
    assert text(study_page, ".study") == "mine after A paper"
    claims = study_page.locator("#claims tbody tr").all_inner_texts()
    assert len(claims) == len(EXPECTATIONS)
    assert all(claim.endswith("not enough seeds") for claim in claims)
    tally = "0 of 3 as expected ✓, 0 missed ✗, 0 mixed, 3 without enough seeds"
    assert text(study_page, "#claims-count") == tally
    study_page.get_by_label("order").select_option("reversed")
    assert study_page.locator("#claims tbody tr:visible th").all_inner_texts() == ["backwards"]
    monkeypatch.setattr("unforced.expectations.MIN_SEEDS", NUM_SEEDS)
    judged = open_file(write([study], tmp_path / "judged.html")[0])
    assert column(judged, "claims", "verdict") == ["✓ met", "✗ missed", "✓ met"]
    assert page.locator("#claims").count() == page.get_by_role("link", name="Expected").count() == 0


def share(value):
    return {"value": value, "low": value, "high": value}


def test_diagnoses_stand_side_by_side_and_follow_the_filters(open_file, study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "study")
    verdict, first = {"name": "memorised", "title": "memorised"}, {"first_error": share(0.125)}
    for name, value in {"fixed-0": 0.5, "fixed-1": 0.25, "reversed-0": 0.75, "reversed-1": 0.0}.items():
        by_position = {"token_0": {"forced": share(value), "free": share(value), **first}}
        diagnose(copy / name, verdict, positions=by_position, reliance={"given": share(value)})
    diagnose(copy / "wide-0", verdict, error_kinds={"correct": 3})
    diagnose(copy / "stream-0", verdict, reliance={"given": {"low": None}})
    file, notes = write([copy], tmp_path / "index.html")
    assert notes == [
        f"{copy / 'stream-0'}: without its diagnosis: its section 'reliance' is damaged; {AGAIN}"
    ]
    page = open_file(file)
    values = page.locator("#diagnosis tr:has(th:text-is('given')) td:visible")
    charts = page.locator("#diagnosis figure:visible")
    assert values.all_inner_texts()[:4] == [
        f"{v} [{v[:-1]}, {v[:-1]}]" for v in ("50.0%", "25.0%", "75.0%", "0.0%")
    ]
    assert charts.locator("figcaption strong").all_inner_texts() == [
        "fixed-0",
        "fixed-1",
        "reversed-0",
        "reversed-1",
    ]
    assert "position 0, first error: 12.5%" in charts.locator("svg").first.get_attribute("aria-label")
    page.locator("#diagnosis-seeds").select_option("one")
    assert charts.locator("figcaption strong").all_inner_texts() == ["fixed-0", "reversed-0"]
    assert text(page, "#diagnosis-count") == "3 of 5 diagnosed runs"
    page.locator("#runs").get_by_role(
        "button", name="fixed-1"
    ).click()  # the run looked at stands for its group
    assert charts.locator("figcaption strong").all_inner_texts() == ["fixed-1", "reversed-0"]
    page.get_by_label("order").select_option("reversed")
    assert charts.locator("figcaption strong").all_inner_texts() == ["reversed-0"]
    assert page.locator("#diagnosis summary:visible").all_inner_texts() == [
        "Teacher-forced and free-running by position",
        "Reliance on the true answer so far",
    ]


def test_charts_are_read_with_pointer_and_keys(page):
    page.get_by_label("task").select_option(label="path-star G(3,3) with 9 labels")
    assert len(lines(page)) == 2
    names = [line["name"] for line in lines(page, "chart-positions")]
    assert names == [
        "exact match",
        "token_0",
        "token_1 ◆ needs lookahead",
        "token_2",
        "exact match, training",
    ]
    legend = page.locator("#chart-groups .legend .at")
    assert legend.inner_text().startswith("after 1,280 problems")
    page.locator("#chart-groups .u-over").hover(position={"x": 4, "y": 100})
    assert legend.inner_text().startswith("after 0 problems")
    page.locator("#chart-groups .canvas").focus()
    page.keyboard.press("ArrowRight")
    assert legend.inner_text().startswith("after 320 problems")
    before = [line["y"] for line in lines(page)]
    page.locator("#curve-measure").select_option("token_0")
    assert [line["y"] for line in lines(page)] != before


def test_a_chart_has_the_median_and_the_seeds_of_each_configuration(study_page, study_file):
    data = embedded(study_file)
    assert options(study_page, "#curve-facet") == ["G(2,3), gpt", "G(3,3), gpt"]
    study_page.locator("#curve-measure").select_option("token_0")
    for facet, count in {"G(2,3), gpt": 3, "G(3,3), gpt": 1}.items():
        study_page.locator("#curve-facet").select_option(facet)
        groups = {i: group for i, group in enumerate(data["groups"]) if group["facet"] == facet}
        expected = [
            [
                *(run["curves"]["token_0"] for run in data["runs"] if run["group"] == i),
                group["curves"]["token_0"]["median"],
            ]
            for i, group in groups.items()
        ]
        assert [line["y"] for line in lines(study_page)] == [*chain(*expected)]
        assert [line["name"] for line in curves(study_page)] == [group["name"] for group in groups.values()]
        assert len(curves(study_page)) == count
        for key in ("colour", "dash"):
            assert len({line[key] for line in curves(study_page)}) == count
        values = [f"{100 * values[-1][-1]:.1f}%" for values in expected]
        assert study_page.locator("#chart-groups .legend b").all_inner_texts() == values


def test_pointing_at_a_curve_names_it_there_and_lets_it_stand_out(study_page):
    study_page.locator("#curve-measure").select_option("token_0")
    over = study_page.locator("#chart-groups .u-over")
    over.scroll_into_view_if_needed()
    every = lines(study_page)
    member = next(i for i, line in enumerate(every) if line["name"] == "seed 2" and i > NUM_SEEDS)
    x, y = study_page.evaluate(
        """line => { const { plot } = document.getElementById("chart-groups");
                     return [plot.valToPos(1280, "x"), plot.valToPos(plot.data[line + 1].at(-1), "y")] }""",
        member,
    )
    box = over.bounding_box()
    study_page.mouse.move(box["x"] + x - 1, box["y"] + y)
    name, tip = curves(study_page)[1]["name"], study_page.locator("#chart-groups .tip")
    assert tip.inner_text().startswith(f"{name}\nseed ")
    assert "after 1,280 problems" in tip.inner_text()
    edge = tip.bounding_box()
    assert abs(edge["x"] + edge["width"] - box["x"] - x) < 40
    series = NUM_SEEDS + 1
    bright = [line["alpha"] for line in lines(study_page)[series : 2 * series]]
    others = [line["alpha"] for line in [*lines(study_page)[:series], *lines(study_page)[2 * series :]]]
    assert max(others) < min(bright)
    assert max(bright[:-1]) == bright[-1] == 1
    study_page.mouse.move(0, 0)
    assert tip.is_hidden()
    assert {line["alpha"] for line in curves(study_page)} == {1}


def test_a_chart_is_read_aloud_by_keys_and_has_a_table(study_page):
    canvas, said = study_page.locator("#chart-groups .canvas"), study_page.locator("#said[role=status]")
    assert said.inner_text() == ""
    canvas.focus()
    study_page.keyboard.press("Home")
    names = study_page.locator("#chart-groups .legend .name").all_inner_texts()
    assert said.inner_text().startswith("After 0 problems: ")
    assert all(name in said.inner_text() for name in names)
    study_page.keyboard.press("ArrowDown")
    study_page.keyboard.press("End")
    value = study_page.locator("#chart-groups .legend b").first.inner_text()
    assert said.inner_text().startswith(f"After 1,280 problems: {names[0]}, {value}, {NUM_SEEDS} seeds ")
    assert names[1] not in said.inner_text()
    study_page.locator("#chart-groups summary").click()
    table = study_page.get_by_role("region", name="Values of the chart").locator("table")
    assert table.locator("thead th").all_inner_texts() == ["problems trained on", *names]
    assert table.locator("tbody tr").last.locator("td").first.inner_text().startswith(value)


def test_the_explorer_steps_by_button_and_by_key(page):
    explore(page, "star")
    page.locator("#picture").focus()
    page.keyboard.press("Home")
    assert step(page) == 1
    assert page.locator("#step-back").is_disabled()
    page.locator("#step-on").click()
    assert step(page) == 2
    assert "token_1" in text(page, "#step-name")
    assert "needs lookahead" in text(page, "#step-name")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert step(page) == 3
    page.keyboard.press("ArrowLeft")
    assert step(page) == 2
    page.get_by_role("button", name="Go to token_0").press("Enter")
    assert step(page) == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Go to token_0"
    page.locator("#explore-problem").focus()  # where arrow keys choose from the list
    page.keyboard.press("ArrowDown")
    before = step(page)
    page.keyboard.press("ArrowRight")
    assert step(page) == before


def test_another_question_has_other_predictions_and_is_read_aloud(page):
    explore(page, "star")
    page.locator("#picture").focus()
    page.keyboard.press("End")
    goals, said = page.locator("#goals button"), page.locator("#said[role=status]")
    assert goals.count() == page.locator("#blindness tbody tr").count() == 3
    predictions, sentences = set(), set()
    for i in range(3):
        goals.nth(i).click()
        goal = goals.nth(i).inner_text()
        assert page.locator("#goals [aria-pressed=true]").all_inner_texts() == [goal]
        node = goal.removeprefix("goal ")
        assert page.locator("#answers tbody tr").first.locator("td").last.inner_text() == node
        assert f"to {goal}" in page.locator("#picture svg").get_attribute("aria-label")
        assert said.inner_text().startswith(f"Asked: {goal}. token_")
        verdict, words = text(page, "#verdict").removeprefix("✗ ").split(" — ")
        answer = re.search(r"the free-running answer is ([\d ]+);", words)[1]
        assert f"Free-running answer {answer}: {verdict.removeprefix('✓ ')}." in said.inner_text()
        predictions.add(text(page, "#predictions"))
        sentences.add(said.inner_text())
    assert len(predictions) == len(sentences) == 3
    page.locator("#step-back").click()
    assert "token_1" in said.inner_text()


def test_bars_show_the_probabilities_of_the_traces(page, folders):
    explore(page, "star")
    page.locator("#explore-problem").select_option("0")
    page.locator("#picture").focus()
    page.keyboard.press("End")
    question = RunFolder.open(folders[0]).read_traces()["problems"][0][0]
    assert page.locator(".prediction h3").all_inner_texts() == ["Teacher-forced", "Free-running"]
    for mode in ("forced", "free"):
        bars = page.locator(f".prediction.{mode} li")
        chances = question["chances"][mode][2]
        assert bars.locator(".symbol").all_inner_texts() == [symbol for symbol, _ in chances]
        assert bars.locator(".number").all_inner_texts() == [f"{100 * p:.1f}%" for _, p in chances]
    wrong = sum(answer != true for answer, true in zip(question["free"], question["true"], strict=True))
    assert page.locator("#answers tbody tr").last.locator("td.wrong").count() == wrong


def test_the_explorer_shows_answers_of_every_form(page):
    explore(page, "reversed")
    page.locator("#picture").focus()
    page.keyboard.press("Home")
    assert "token_2" in text(page, "#step-name")
    assert "written backwards" in text(page, "#step-name")
    explore(page, "teacherless")
    assert page.locator(".prediction h3").all_inner_texts() == ["In one pass"]
    explore(page, "sums")
    assert re.search(r"\d{4}\s+\+\s+\d{4}\s+= \d{5}", text(page, "#picture"))
    explore(page, "untraced (no traces)")
    assert "no traces" in text(page, "#explore-nothing")
    assert page.locator("#explore-panel").is_hidden()
    page.keyboard.press("ArrowRight")
    explore(page, "star")
    assert page.locator("#explore-panel").is_visible()


def test_no_symbol_is_wrong_where_several_answers_are_right(open_file, several_file):
    page, right = open_file(several_file), {"siblings": "coherent", "paths": "correct"}
    cells = page.locator("#groups tbody tr").filter(has_text="sibling(2,6)").locator("td")
    assert "open-ended" in cells.all_inner_texts()
    for name, accepted in right.items():
        explore(page, name)
        verdicts = set()
        for problem in page.locator("#explore-problem option").all():
            page.locator("#explore-problem").select_option(problem.get_attribute("value"))
            answers = page.locator("#answers tbody")
            assert answers.locator("td.wrong").count() == 0
            assert answers.locator("th").first.inner_text() == "one right answer"
            assert "true" not in text(page, "#predictions") + text(page, "#verdict")
            is_right = text(page, "#verdict").startswith(f"✓ {accepted} ")
            assert answers.locator("th").last.inner_text() == f"free-running {'✓' if is_right else '✗'}"
            verdicts.add(is_right)
        assert True in verdicts


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    for viewport in (DESK, PHONE):
        page.set_viewport_size(viewport)
        for name in ("star", "sums", "untraced (no traces)"):
            explore(page, name)
            assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        page.locator("#chart-groups .u-over").hover(position={"x": 200, "y": 100})
        assert page.locator("#chart-groups .tip").is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")


def test_every_control_has_a_name_and_can_be_reached(page):
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, select")]
            .filter((node) => !(node.ariaLabel || node.textContent.trim() && node.tagName === "BUTTON"
                                || node.labels?.length)).map((node) => node.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"explore-run", "explore-problem", "step-on", "picture", "curve-measure"} <= reached


def test_a_print_is_light_and_says_which_filters_are_active(open_file, study_file):
    page = open_file(study_file, PHONE)
    page.get_by_label("data").select_option("a stream")
    picture, colours = "document.querySelector('#chart-groups canvas').toDataURL()", []
    for media, scheme in (("screen", "light"), ("screen", "dark"), ("print", "dark")):
        before = page.evaluate(picture)
        page.emulate_media(media=media, color_scheme=scheme)
        colours.append(curves(page)[0]["colour"])
        if colours[1:]:
            page.wait_for_function(f"before => {picture} !== before", arg=before)  # drawn anew
    assert colours[0] == colours[2] != colours[1]
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    for selector in ("#filters", "#show-all", "#step-on"):
        assert page.locator(selector).is_hidden()
    for selector in ("#run-count", "#claims table", "#picture svg"):
        assert page.locator(selector).is_visible()
    assert text(page, "#run-count").endswith("1 of 4 configurations: data a stream")
    assert page.pdf(format="A4").startswith(b"%PDF")
