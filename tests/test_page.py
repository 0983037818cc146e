"""The page: what is written of which runs, and that it works in a real browser."""

import json
import os
import re
import shutil

import pytest

from tests.runs import tiny_run
from unforced.errors import UserError
from unforced.reporting.expectations_table import judge_studies
from unforced.reporting.load import collect_runs
from unforced.reporting.page import write_page
from unforced.runs.folder import RunFolder
from unforced.runs.groups import group_runs

RUNS = {
    "star": ["task.degree=3", "task.num_nodes=9"],
    "reversed": ["task.degree=3", "task.num_nodes=9", "order=reversed"],
    "teacherless": ["objective=teacherless"],
    "sums": ["task=addition"],
    "untraced": ["seed=1"],
}
NUM_SEEDS = 3
STUDY_KINDS = {
    "fixed": [],
    "stream": ["stream=true"],
    "reversed": ["order=reversed"],
    "wide": ["task.degree=3", "task.num_nodes=9"],
}
EXPECTED = {"measure": "test.free.exact", "tolerance": 0.0, "relation": "at_most", "value": 1.0}
EXPECTATIONS = [
    {**EXPECTED, "group": "fixed ones", "select": {"stream": False, "order": "forward", "task.degree": 2}},
    {
        **EXPECTED,
        "group": "backwards",
        "select": {"order": "reversed"},
        "relation": "at_least",
        "value": 1.01,
    },
    {**EXPECTED, "group": "wide ones", "select": {"task.degree": 3}},
]
PHONE, DESK = {"width": 375, "height": 800}, {"width": 1280, "height": 900}
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
    """The folder of a study: kinds of runs, which differ in data, order or task, with seeds."""
    folder = tmp_path_factory.mktemp("study") / "study"
    for kind, overrides in STUDY_KINDS.items():
        for seed in range(NUM_SEEDS):
            trained(tiny_run(*overrides, f"seed={seed}"), folder / f"{kind}-{seed}")
    expectations = [{**each, "source": "A paper: Table 1"} for each in EXPECTATIONS]
    content = {"name": "mine", "source": "A paper", "runs": {}, "expectations": expectations}
    (folder / "study.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def copy(folders, tmp_path):
    """A run's folder, to be damaged."""
    return shutil.copytree(folders[0], tmp_path / "copy")


def write(folders, to):
    """Write the page of what a report collects; return its notes."""
    collection = collect_runs(folders)
    judged, refused = judge_studies(collection)
    skipped = {**collection.skipped, **refused}
    return write_page(group_runs(collection.runs), to, judged, collection.studies, skipped)


def embedded(file):
    """The data in a page."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', file.read_text(), re.S)
    return json.loads(data)


# What is written


def test_a_page_holds_what_the_run_folders_say(folders, tmp_path):
    notes = write(folders, tmp_path / "report" / "index.html")
    assert notes == [f"{folders[-1]}: no traces to explore: it has no traces.json"]
    found = embedded(tmp_path / "report" / "index.html")
    runs = {data["name"]: data for data in found["runs"]}
    assert set(runs) == {path.name for path in folders}
    for path in folders:
        folder, data = RunFolder.open(path), runs[path.name]
        result, lines = folder.read_result(), folder.read_metrics()
        assert data["free"]["value"] == pytest.approx(result["test.free.exact"]["value"], abs=1e-4)
        assert data["forced_tokens"][1] == pytest.approx(result["test.forced.token_1"]["value"], abs=1e-4)
        assert data["curves"]["samples"] == [line["samples"] for line in lines]
        last = lines[-1]["validation.free.token_1"]
        assert data["curves"]["token_1"][-1] == pytest.approx(last["correct"] / last["total"], abs=1e-4)
        assert (data["traces"] is None) == (path.name == "untraced")
        assert data["verdict"] is None
        assert found["kinds"][data["kind"]]["task"] == str(folder.run().task)


def test_a_kind_holds_its_seeds_median_range_and_verdicts(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "study")
    for seed in range(2):
        verdict = {"name": "memorised", "title": "by heart", "because": ["of this"], "settle": ""}
        content = {"verdict": verdict, "clever_hans": {}, "indecipherable_token": {}}
        (copy / f"stream-{seed}" / "diagnosis.json").write_text(json.dumps(content))
    write([copy], tmp_path / "index.html")
    found = embedded(tmp_path / "index.html")
    assert len(found["kinds"]) == len(STUDY_KINDS)
    (kind,) = [each for each in found["kinds"] if each["data"] == "a stream"]
    folders = [RunFolder.open(copy / f"stream-{seed}") for seed in range(NUM_SEEDS)]
    whole = sorted(folder.read_result()["test.free.exact"]["value"] for folder in folders)
    assert [kind["free"][key] for key in ("low", "median", "high")] == pytest.approx(whole, abs=1e-4)
    assert sorted(kind["free"]["values"]) == pytest.approx(whole, abs=1e-4)
    first = sorted(folder.read_result()["test.forced.token_1"]["value"] for folder in folders)
    assert kind["forced_tokens"][1] == pytest.approx(first[1], abs=1e-4)
    assert (kind["solved"], kind["chance"], kind["place"]) == (0, 0.5, "G(2,3), gpt")
    assert kind["verdicts"] == [{"name": "memorised", "title": "by heart", "count": 2}]


def test_a_page_holds_what_a_study_expects(study, tmp_path):
    write([study], tmp_path / "index.html")
    found = embedded(tmp_path / "index.html")
    assert found["studies"] == [{"name": "mine", "source": "A paper"}]
    claims = {claim["runs"]: claim for claim in found["claims"]}
    assert claims["fixed ones"]["verdict"] == "not enough seeds"
    assert claims["fixed ones"]["source"] == "Table 1"  # what the study's own source does not say
    assert (claims["backwards"]["holds"], claims["backwards"]["total"]) == (0, NUM_SEEDS)
    told = {
        name: [found["kinds"][kind]["order"] for kind in claim["kinds"]] for name, claim in claims.items()
    }
    assert told == {"fixed ones": ["forward"], "backwards": ["reversed"], "wide ones": ["forward"]}


def test_a_diagnosis_gives_the_verdict(copy, tmp_path):
    verdict = {"name": "memorised", "title": "memorised", "because": ["of this"], "settle": ""}
    (copy / "diagnosis.json").write_text(
        json.dumps({"verdict": verdict, "clever_hans": {}, "indecipherable_token": {}})
    )
    assert write([copy], tmp_path / "index.html") == []
    assert embedded(tmp_path / "index.html")["runs"][0]["verdict"]["title"] == "memorised"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"order": "forward", "reads_answers": true}'])
def test_damaged_traces_are_left_out(copy, tmp_path, content):
    (copy / "traces.json").write_text(content)
    (line,) = write([copy], tmp_path / "index.html")
    assert str(copy / "traces.json") in line
    (data,) = embedded(tmp_path / "index.html")["runs"]
    assert data["traces"] is None


@pytest.mark.parametrize("name", ["config.json", "result.json", "metrics.jsonl", "diagnosis.json"])
def test_the_page_names_a_run_that_the_report_skips(folders, copy, tmp_path, name):
    (copy / name).write_text("{\n")
    assert write([copy, folders[1]], tmp_path / "index.html") == []
    assert f"<li>{copy}: left out: " in (tmp_path / "index.html").read_text()
    (data,) = embedded(tmp_path / "index.html")["kinds"]
    assert data["order"] == "reversed"


def test_no_run_is_no_page(copy, tmp_path):
    (copy / "result.json").unlink()
    with pytest.raises(UserError, match="not finished"):
        write([copy], tmp_path / "index.html")
    assert not (tmp_path / "index.html").exists()


def test_names_cannot_break_out_of_the_data(copy, tmp_path):
    nasty = copy.rename(tmp_path / "<script>alert(1)< {{ 7 * 7 }}")
    (nasty / "traces.json").unlink()
    write([nasty], tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    assert embedded(tmp_path / "index.html")["runs"][0]["name"] == nasty.name
    assert "<script>alert" not in text


def test_the_page_names_no_address_on_a_network(folders, tmp_path):
    write(folders, tmp_path / "index.html")
    addresses = set(re.findall(r"\w+://[^\s\"'`]+", (tmp_path / "index.html").read_text()))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name space, which nobody loads
    assert (tmp_path / "index.html").read_text().count("</script>") == 2


# In a browser


def find_browser():
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        missing = f"none of {', '.join(BROWSERS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@pytest.fixture(scope="module")
def browser():
    executable = find_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_file(browser):
    """Open a page's file; whatever it logs, throws or asks a network for fails the test."""
    contexts, heard, asked, files = [], [], [], []

    def open_file(file, viewport=DESK, **options):
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)
        contexts.append(context)
        files.append(file.as_uri())
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert heard == []
    assert {url.partition("#")[0] for url in asked} <= {*files, "data:,"}


@pytest.fixture
def open_page(open_file, folders, tmp_path):
    """Open the page of all runs."""
    write(folders, tmp_path / "index.html")
    return lambda *args, **options: open_file(tmp_path / "index.html", *args, **options)


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def open_study(open_file, study, tmp_path):
    """Open the page of a study."""
    write([study], tmp_path / "study.html")
    return lambda *args, **options: open_file(tmp_path / "study.html", *args, **options)


@pytest.fixture
def study_page(open_study):
    return open_study()


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


def test_filters_leave_the_runs_that_match(page):
    assert set(rows(page)) == set(RUNS)
    page.get_by_label("objective").select_option("teacherless")
    assert rows(page) == ["teacherless"]
    assert text(page, "#run-count") == f"1 of {len(RUNS)} runs, 1 of 5 kinds: objective teacherless"
    assert page.locator("#chart-kinds .curve").count() == 1
    page.get_by_label("objective").select_option("")
    page.get_by_label("order").select_option("reversed")
    assert rows(page) == ["reversed"]


def test_filters_reach_what_can_be_chosen(page):
    page.get_by_label("task").select_option(label="path-star G(3,3) with 9 labels")
    assert set(options(page, "#explore-run")) == set(options(page, "#curve-run")) == {"star", "reversed"}
    page.get_by_label("objective").select_option("next_token")
    page.get_by_label("order").select_option("reversed")
    assert options(page, "#explore-run") == options(page, "#curve-run") == ["reversed"]
    assert "written backwards" in text(page, "#step-name")  # the run that is shown is one of them


def test_where_no_run_matches_the_page_says_so_and_offers_all_again(page):
    page.get_by_label("order").select_option("reversed")
    page.get_by_label("task").select_option(label="addition of 4 digits in base 10")
    assert rows(page) == rows(page, "kinds") == []
    said = "No run matches: task addition of 4 digits in base 10, order reversed."
    assert text(page, "#run-count") == said
    assert page.locator(".chart svg").count() == 0
    for place in ("#curves-nothing", "#explore-nothing"):
        assert text(page, place) == "No run matches the filters."
    assert page.locator("#explore-panel").is_hidden()
    page.get_by_role("button", name="Show all runs").click()
    assert set(rows(page)) == set(RUNS)
    assert page.locator("#show-all").is_hidden()
    assert page.locator("#explore-panel").is_visible()
    assert page.get_by_label("order").input_value() == ""


def test_an_axis_has_whole_round_numbers(page):
    for most, wanted in ((1, 5), (3, 7), (1280, 6), (12_800, 4), (299_999, 7)):
        ticks = page.evaluate(f"() => {{ {function(page, 'ticks')} return ticks({most}, {wanted}) }}")
        assert all(isinstance(tick, int) for tick in ticks)
        assert ticks[0] == 0
        assert most / 2 <= ticks[-1] <= most


def function(page, name):
    """The source of a function of the page's script."""
    return re.search(rf"^function {name}\(.*?^}}", page.locator("script").last.text_content(), re.S | re.M)[0]


def test_the_head_of_a_column_sorts(page):
    page.locator("#runs").get_by_role("button", name="seed").click()
    assert column(page, "runs", "seed") == ["0", "0", "0", "0", "1"]
    page.locator("#runs").get_by_role("button", name="seed").click()
    assert column(page, "runs", "seed") == ["1", "0", "0", "0", "0"]
    assert page.locator("#runs thead th[aria-sort]").count() == 1


def test_a_phone_sorts_by_a_list(open_study):
    page = open_study(PHONE)
    assert page.locator("#kinds thead").is_hidden()
    in_order = column(page, "kinds", "held-out, free")
    page.locator("#kinds-sort select").select_option(label="held-out, free ↓")
    shares = [float(cell.partition("%")[0]) for cell in column(page, "kinds", "held-out, free")]
    assert shares == sorted(shares, reverse=True)
    assert page.locator("#kinds th[aria-sort=descending]").count() == 1
    page.locator("#kinds-sort select").select_option(label="as it comes")
    assert column(page, "kinds", "held-out, free") == in_order


def test_a_phone_shows_kinds_first_and_folds_what_is_long(open_study):
    page = open_study(PHONE)
    assert len(rows(page, "kinds")) == len(STUDY_KINDS)
    assert page.locator("#claims table").is_hidden()
    top = page.evaluate("document.getElementById('explorer').offsetTop")
    assert top < 900 + 300 * len(STUDY_KINDS) + 1700  # the filters, the kinds, the two charts
    page.get_by_role("link", name="Explorer").click()
    assert page.evaluate("document.getElementById('explorer').getBoundingClientRect().top") < 100
    assert page.get_by_role("link", name="Overview").bounding_box()["y"] < 100  # still in sight


def test_many_runs_are_folded_below_their_kinds(open_file, study, folders, tmp_path):
    write([study, *folders[1:3]], tmp_path / "many.html")
    page = open_file(tmp_path / "many.html")
    assert rows(page) == []
    assert text(page, "#runs-folded") == "14 runs"
    page.locator("#runs-details summary").click()
    assert len(rows(page)) == 14


def test_kinds_say_how_their_seeds_came_out(study_page):
    found = embedded_in(study_page)
    for kind, row in zip(found["kinds"], study_page.locator("#kinds tbody tr").all(), strict=True):
        cell = row.locator("td[data-label='held-out, free']")
        free = {key: f"{100 * kind['free'][key]:.1f}" for key in ("median", "low", "high")}
        assert cell.inner_text().startswith(f"{free['median']}% ({free['low']} to {free['high']})")
        assert f"chance {100 * kind['chance']:.1f}%" in cell.inner_text()
        assert row.locator(".strip circle").count() == NUM_SEEDS
        assert row.locator("td[data-label=solved]").inner_text() == f"0 of {NUM_SEEDS}"


def embedded_in(page):
    return json.loads(page.locator("#data").text_content())


def test_kinds_that_differ_in_data_alone_can_be_told_apart(study_page):
    study_page.get_by_label("data").select_option("a stream")
    assert len(rows(study_page, "kinds")) == 1
    assert rows(study_page) == [f"stream-{seed}" for seed in range(NUM_SEEDS)]


def test_kinds_that_no_filter_tells_apart_get_one_of_all_settings(open_file, tmp_path, trained):
    for rate in ("1e-2", "1e-3"):
        trained(tiny_run(f"learning_rate={rate}"), tmp_path / "runs" / rate)
    write([tmp_path / "runs"], tmp_path / "rates.html")
    page = open_file(tmp_path / "rates.html")
    page.get_by_label("settings").select_option(index=1)
    assert len(rows(page, "kinds")) == len(rows(page)) == 1


def test_expectations_stand_beside_what_was_measured(study_page):
    assert text(study_page, ".study") == "mine after A paper"
    lines = study_page.locator("#claims tbody tr").all_inner_texts()
    assert len(lines) == len(EXPECTATIONS)
    assert all(line.endswith("not enough seeds") for line in lines)
    tally = text(study_page, "#claims-count")
    assert tally == "0 of 3 as expected ✓, 0 missed ✗, 0 mixed, 3 without enough seeds"
    study_page.get_by_label("order").select_option("reversed")
    assert study_page.locator("#claims tbody tr:visible th").all_inner_texts() == ["backwards"]


def test_a_verdict_has_a_sign(open_file, study, tmp_path, monkeypatch):
    monkeypatch.setattr("unforced.expectations.MIN_SEEDS", NUM_SEEDS)
    write([study], tmp_path / "judged.html")
    page = open_file(tmp_path / "judged.html")
    assert column_of_claims(page) == ["✓ met", "✗ missed", "✓ met"]
    assert text(page, "#claims-count") == "2 of 3 as expected ✓, 1 missed ✗, 0 mixed, 0 without enough seeds"


def column_of_claims(page):
    return page.locator("#claims tbody td[data-label=verdict]").all_inner_texts()


def test_a_page_without_a_study_has_no_expectations(page):
    assert page.locator("#claims").count() == 0
    assert page.get_by_role("link", name="Expected").count() == 0


def test_curves_are_drawn_and_read_with_pointer_and_keys(page):
    page.get_by_label("task").select_option(label="path-star G(3,3) with 9 labels")
    assert page.locator("#chart-kinds .curve").count() == 2
    assert page.locator("#chart-positions .curve").count() == 5  # whole answers, three positions, training
    legend = page.locator("#chart-kinds .legend .at")
    assert legend.inner_text().startswith("after 1,280 problems")
    page.locator("#chart-kinds .canvas").hover(position={"x": 48, "y": 100})
    assert legend.inner_text().startswith("after 0 problems")
    page.locator("#chart-kinds .canvas").focus()
    page.keyboard.press("ArrowRight")
    assert legend.inner_text().startswith("after 320 problems")
    before = page.locator("#chart-kinds .curve").first.get_attribute("d")
    page.locator("#curve-measure").select_option("token_0")
    assert page.locator("#chart-kinds .curve").first.get_attribute("d") != before


def test_a_chart_has_a_curve_per_kind_on_one_task_and_a_line_per_seed(study_page):
    assert options(study_page, "#curve-place") == ["G(2,3), gpt", "G(3,3), gpt"]
    chart = study_page.locator("#chart-kinds")
    for place, kinds in {"G(2,3), gpt": 3, "G(3,3), gpt": 1}.items():
        study_page.locator("#curve-place").select_option(place)
        assert chart.locator(".curve").count() == chart.locator(".legend li").count() == kinds
        assert chart.locator(".member").count() == kinds * NUM_SEEDS
        styles = [
            (each.get_attribute("stroke"), each.get_attribute("stroke-dasharray"))
            for each in chart.locator(".legend line").all()
        ]
        assert len({stroke for stroke, _ in styles}) == len({dash for _, dash in styles}) == kinds
        assert chart.locator(".level").count() == 1


def test_the_curve_of_a_kind_is_the_median_of_its_seeds(study_page):
    found = embedded_in(study_page)
    study_page.locator("#curve-measure").select_option("token_0")
    for item in study_page.locator("#chart-kinds .legend li").all():
        (kind,) = [
            i
            for i, each in enumerate(found["kinds"])
            if each["name"] == item.locator(".name").inner_text() and each["place"] == "G(2,3), gpt"
        ]
        last = sorted(run["curves"]["token_0"][-1] for run in found["runs"] if run["kind"] == kind)
        assert item.locator("b").inner_text() == f"{100 * last[NUM_SEEDS // 2]:.1f}%"


def test_pointing_at_a_curve_names_it_there_and_lets_it_stand_out(study_page):
    study_page.locator("#curve-measure").select_option("token_0")
    canvas = study_page.locator("#chart-kinds .canvas")
    canvas.scroll_into_view_if_needed()
    point = (
        canvas.locator(".series")
        .nth(1)
        .locator(".member")
        .nth(2)
        .evaluate(
            """line => { const { x, y } = line.getPointAtLength(line.getTotalLength());
                     const box = line.ownerSVGElement.getBoundingClientRect();
                     return { x: box.x + x, y: box.y + y } }"""
        )
    )
    study_page.mouse.move(point["x"], point["y"])
    name = study_page.locator("#chart-kinds .legend .name").nth(1).inner_text()
    tip = study_page.locator("#chart-kinds .tip")
    assert tip.inner_text().startswith(f"{name}\nseed ")
    assert "after 1,280 problems" in tip.inner_text()
    box = tip.bounding_box()
    assert abs(box["x"] + box["width"] - point["x"]) < 40
    assert canvas.locator(".series.picked").count() == canvas.locator(".member.picked").count() == 1
    assert canvas.locator(".series").nth(1).evaluate("node => node.classList.contains('picked')")
    study_page.mouse.move(0, 0)
    assert tip.is_hidden()
    assert canvas.locator(".picked").count() == 0


def test_a_chart_is_read_aloud_by_keys_and_has_a_table(study_page):
    canvas, said = study_page.locator("#chart-kinds .canvas"), study_page.locator("#said[role=status]")
    assert said.inner_text() == ""
    canvas.focus()
    study_page.keyboard.press("Home")
    names = study_page.locator("#chart-kinds .legend .name").all_inner_texts()
    assert said.inner_text().startswith("After 0 problems: ")
    assert all(name in said.inner_text() for name in names)
    study_page.keyboard.press("ArrowDown")
    study_page.keyboard.press("End")
    value = study_page.locator("#chart-kinds .legend b").first.inner_text()
    assert said.inner_text().startswith(f"After 1,280 problems: {names[0]}, {value}, {NUM_SEEDS} seeds ")
    assert names[1] not in said.inner_text()
    study_page.locator("#chart-kinds summary").click()
    table = study_page.get_by_role("region", name="Values of the chart").locator("table")
    assert table.locator("thead th").all_inner_texts() == ["problems trained on", *names]
    assert table.locator("tbody tr").last.locator("td").first.inner_text().startswith(value)


def test_what_the_explorer_changes_to_is_said(page):
    explore(page, "star")
    said = page.locator("#said[role=status]")
    outcomes = set()
    for i in range(3):
        page.locator("#goals button").nth(i).click()
        goal = page.locator("#goals button").nth(i).inner_text()
        assert said.inner_text().startswith(f"Asked: {goal}. token_")
        verdict, free = text(page, "#verdict").removeprefix("✗ ").split(" — ")
        answer = re.search(r"the free answer is ([\d ]+);", free)[1]
        assert f"Free answer {answer}: {verdict.removeprefix('✓ ')}." in said.inner_text()
        outcomes.add(said.inner_text())
    assert len(outcomes) == 3
    page.locator("#step-back").click()
    assert "token_0" in said.inner_text()


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
    assert step(page) == 3
    page.keyboard.press("ArrowRight")
    assert step(page) == 3
    page.keyboard.press("ArrowLeft")
    assert step(page) == 2
    page.get_by_role("button", name="Go to token_0").press("Enter")
    assert step(page) == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Go to token_0"


def test_arrow_keys_in_a_list_choose_there_and_step_nothing(page):
    explore(page, "star")
    before = step(page)
    page.locator("#explore-problem").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert step(page) == before


def test_switching_the_goal_changes_what_is_predicted(page):
    explore(page, "star")
    page.locator("#picture").focus()
    page.keyboard.press("End")
    goals = page.locator("#goals button")
    assert goals.count() == 3
    seen = set()
    for i in range(3):
        goals.nth(i).click()
        goal = goals.nth(i).inner_text().removeprefix("goal ")
        assert goals.nth(i).get_attribute("aria-pressed") == "true"
        assert page.locator("#goals [aria-pressed=true]").count() == 1
        assert page.locator("#answers tbody tr").first.locator("td").last.inner_text() == goal
        assert f"to goal {goal}" in page.locator("#picture svg").get_attribute("aria-label")
        seen.add(text(page, "#predictions"))
    assert len(seen) == 3
    assert page.locator("#blindness tbody tr").count() == 3


def test_bars_show_the_probabilities_of_the_traces(page, folders):
    explore(page, "star")
    page.locator("#explore-problem").select_option("0")
    page.locator("#picture").focus()
    page.keyboard.press("End")
    question = RunFolder.open(folders[0]).read_traces()["problems"][0][0]
    for mode in ("forced", "free"):
        bars = page.locator(f".prediction.{mode} li")
        chances = question["chances"][mode][2]
        assert bars.locator(".symbol").all_inner_texts() == [symbol for symbol, _ in chances]
        assert bars.locator(".number").all_inner_texts() == [f"{100 * p:.1f}%" for _, p in chances]
    wrong = sum(given != true for given, true in zip(question["free"], question["true"], strict=True))
    assert page.locator("#answers tbody tr").last.locator("td.wrong").count() == wrong


def test_a_reversed_answer_is_written_from_its_end(page):
    explore(page, "reversed")
    page.locator("#picture").focus()
    page.keyboard.press("Home")
    assert "token_2" in text(page, "#step-name")
    assert "written backwards" in text(page, "#step-name")


def test_an_objective_that_reads_no_answer_shows_one_pass(page):
    explore(page, "teacherless")
    assert page.locator(".prediction h3").all_inner_texts() == ["In one pass"]


def test_a_task_without_a_graph_shows_its_line(page):
    explore(page, "sums")
    assert re.fullmatch(r"\d{4}\+\d{4}= \d{5}", text(page, "#picture"))


def test_a_run_without_traces_says_so(page):
    explore(page, "untraced (no traces)")
    assert "no traces" in text(page, "#explore-nothing")
    assert page.locator("#explore-panel").is_hidden()
    page.keyboard.press("ArrowRight")
    explore(page, "star")
    assert page.locator("#explore-panel").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_is_wider_than_the_window(open_page, viewport, scheme):
    page = open_page(viewport, color_scheme=scheme)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    for name in ("star", "sums", "untraced (no traces)"):
        explore(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    page.locator("#chart-kinds .canvas").hover(position={"x": 200, "y": 100})
    assert page.locator("#chart-kinds .tip").is_visible()
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
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"explore-run", "explore-problem", "step-on", "picture", "curve-measure"} <= reached


def test_the_page_prints(open_page):
    page = open_page()
    page.emulate_media(media="print")
    assert page.locator("#filters").is_hidden()
    assert page.locator("#step-on").is_hidden()
    assert page.locator("#picture svg").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_print_says_which_filters_are_active(open_study):
    page = open_study(PHONE)
    page.get_by_label("data").select_option("a stream")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#filters").is_hidden()
    assert page.locator("#show-all").is_hidden()
    assert page.locator("#run-count").is_visible()
    assert text(page, "#run-count").endswith("1 of 4 kinds: data a stream")
    assert page.locator("#claims table").is_visible()
