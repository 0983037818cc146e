"""The page: what is written of which runs, and that it works in a real browser."""

import json
import os
import re
import shutil

import pytest

from tests.runs import tiny_run, train
from unforced.errors import UserError
from unforced.reporting.page import write_page
from unforced.training.folder import RunFolder

RUNS = {
    "star": ["task.degree=3", "task.num_nodes=9"],
    "reversed": ["task.degree=3", "task.num_nodes=9", "order=reversed"],
    "teacherless": ["objective=teacherless"],
    "sums": ["task=addition"],
    "untraced": ["seed=1"],
}
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Finished runs; the last has no traces."""
    root = tmp_path_factory.mktemp("runs")
    for name, overrides in RUNS.items():
        train(tiny_run(*overrides), root / name)
    (root / "untraced" / "traces.json").unlink()
    return [root / name for name in RUNS]


@pytest.fixture
def copy(folders, tmp_path):
    """A run's folder, to be damaged."""
    return shutil.copytree(folders[0], tmp_path / "copy")


def embedded(file):
    """The data in a page."""
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', file.read_text(), re.S)
    return json.loads(data)


# What is written


def test_a_page_holds_what_the_run_folders_say(folders, tmp_path):
    left_out = write_page(folders, tmp_path / "report" / "index.html")
    assert left_out == [f"{folders[-1]}: no traces to explore: it has no traces.json"]
    for data, path in zip(embedded(tmp_path / "report" / "index.html"), folders, strict=True):
        folder = RunFolder.open(path)
        result, lines = folder.read_result(), folder.read_metrics()
        assert data["name"] == path.name
        assert data["free"]["value"] == pytest.approx(result["test.free.exact"]["value"], abs=1e-4)
        assert data["forced_tokens"][1] == pytest.approx(result["test.forced.token_1"]["value"], abs=1e-4)
        assert data["curves"]["samples"] == [line["samples"] for line in lines]
        last = lines[-1]["validation.free.token_1"]
        assert data["curves"]["token_1"][-1] == pytest.approx(last["correct"] / last["total"], abs=1e-4)
        assert (data["traces"] is None) == (path.name == "untraced")
        assert data["verdict"] is None


def test_a_diagnosis_gives_the_verdict(copy, tmp_path):
    verdict = {"name": "memorised", "title": "memorised", "because": ["of this"], "settle": ""}
    (copy / "diagnosis.json").write_text(
        json.dumps({"verdict": verdict, "clever_hans": {}, "indecipherable_token": {}})
    )
    assert write_page([copy], tmp_path / "index.html") == []
    assert embedded(tmp_path / "index.html")[0]["verdict"]["title"] == "memorised"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"order": "forward", "reads_answers": true}'])
@pytest.mark.parametrize("name", ["traces.json", "diagnosis.json"])
def test_what_is_damaged_and_can_be_spared_is_left_out(copy, tmp_path, name, content):
    (copy / name).write_text(content)
    (line,) = write_page([copy], tmp_path / "index.html")
    assert str(copy / name) in line
    (data,) = embedded(tmp_path / "index.html")
    assert data[{"traces.json": "traces", "diagnosis.json": "verdict"}[name]] is None


@pytest.mark.parametrize("name", ["config.json", "result.json", "metrics.jsonl"])
def test_a_damaged_run_is_left_out(folders, copy, tmp_path, name):
    (copy / name).write_text("{\n")
    (line,) = write_page([copy, folders[0]], tmp_path / "index.html")
    assert line.startswith(f"{copy}: left out: ")
    assert [data["task"] for data in embedded(tmp_path / "index.html")] == [str(tiny_run(*RUNS["star"]).task)]


def test_no_run_is_no_page(copy, tmp_path):
    (copy / "result.json").unlink()
    with pytest.raises(UserError, match="it has not finished"):
        write_page([copy], tmp_path / "index.html")
    with pytest.raises(UserError, match="no folder was given"):
        write_page([], tmp_path / "index.html")
    assert not (tmp_path / "index.html").exists()


def test_names_cannot_break_out_of_the_data(copy, tmp_path):
    nasty = copy.rename(tmp_path / "<script>alert(1)< {{ 7 * 7 }}")
    (nasty / "traces.json").unlink()
    write_page([nasty], tmp_path / "index.html")
    text = (tmp_path / "index.html").read_text()
    assert embedded(tmp_path / "index.html")[0]["name"] == nasty.name
    assert "<script>alert" not in text


def test_the_page_names_no_address_on_a_network(folders, tmp_path):
    write_page(folders, tmp_path / "index.html")
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
def open_page(browser, folders, tmp_path):
    """Open the page of all runs; whatever it logs, throws or asks a network for fails the test."""
    file = tmp_path / "index.html"
    write_page(folders, file)
    contexts, heard, asked = [], [], []

    def open_page(viewport=DESK, **options):
        context = browser.new_context(viewport=viewport, reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(message.text))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert heard == []
    assert set(asked) <= {file.as_uri(), "data:,"}


@pytest.fixture
def page(open_page):
    return open_page()


def explore(page, name):
    page.locator("#explore-run").select_option(label=name)


def text(page, selector):
    return page.locator(selector).inner_text()


def step(page):
    return int(re.search(r"step (\d+) of", text(page, "#step-name"))[1])


def rows(page):
    return [text.strip() for text in page.locator("#runs tbody tr:visible th").all_inner_texts()]


def test_filters_leave_the_runs_that_match(page):
    assert set(rows(page)) == set(RUNS)
    page.get_by_label("objective").select_option("teacherless")
    assert rows(page) == ["teacherless"]
    assert text(page, "#run-count") == f"1 of {len(RUNS)} runs"
    assert page.locator("#chart-runs .curve").count() == 1
    page.get_by_label("objective").select_option("")
    page.get_by_label("order").select_option("reversed")
    assert rows(page) == ["reversed"]
    page.get_by_label("task").select_option(label="addition of 4 digits in base 10")
    assert rows(page) == []
    assert page.locator("#chart-runs .curve").count() == 0


def test_the_head_of_a_column_sorts(page):
    seeds = page.locator("#runs tbody td:nth-child(6)")
    page.get_by_role("button", name="seed").click()
    assert seeds.all_inner_texts() == ["0", "0", "0", "0", "1"]
    page.get_by_role("button", name="seed").click()
    assert seeds.all_inner_texts() == ["1", "0", "0", "0", "0"]
    assert page.locator("#runs thead th[aria-sort]").count() == 1


def test_curves_are_drawn_and_read_with_pointer_and_keys(page):
    assert page.locator("#chart-runs .curve").count() == len(RUNS)
    assert page.locator("#chart-positions .curve").count() == 5  # whole answers, three positions, training
    legend = page.locator("#chart-runs .legend .at")
    assert legend.inner_text().startswith("after 1,280 problems")
    page.locator("#chart-runs .canvas").hover(position={"x": 48, "y": 100})
    assert legend.inner_text().startswith("after 0 problems")
    page.locator("#chart-runs .canvas").focus()
    page.keyboard.press("ArrowRight")
    assert legend.inner_text().startswith("after 320 problems")
    before = page.locator("#chart-runs .curve").first.get_attribute("d")
    page.locator("#curve-measure").select_option("token_0")
    assert page.locator("#chart-runs .curve").first.get_attribute("d") != before


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
    assert re.fullmatch(r"\d{4}\+\d{4}=\d{5}", text(page, "#picture"))


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
    for name in ("star", "sums", "untraced (no traces)"):
        explore(page, name)
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


def test_the_page_prints(open_page, tmp_path):
    page = open_page()
    page.emulate_media(media="print")
    assert page.locator("#filters").is_hidden()
    assert page.locator("#step-on").is_hidden()
    assert page.locator("#picture svg").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")
