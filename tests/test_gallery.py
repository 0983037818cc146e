"""The gallery of tasks, which is written from the tasks themselves."""

import runpy

import pytest

from tests.documents import ROOT
from unforced.registry import STUDIES, TASKS


@pytest.fixture(scope="module")
def page():
    return runpy.run_path(str(ROOT / "docs" / "site" / "task_gallery.py"))["page"]()


def test_the_gallery_is_what_the_tasks_say_now(page):
    written = (ROOT / "docs" / "tasks.md").read_text().splitlines()
    now = page.splitlines()
    changed = [f"- {old}\n+ {new}" for old, new in zip(written, now, strict=False) if old != new][:3]
    assert written == now, "\n".join(["docs/tasks.md is out of date; write it: make gallery", *changed])


def test_every_task_has_a_section_and_the_studies_of_the_package_expect_the_numbers_shown(page):
    assert all(f"\n## `{name}`\n" in page for name in TASKS.names())
    shown = [number for name in ("path_star", "crossing_lines") for number in TASKS.get(name).published]
    for name in ("top_table5", "nextlat_fig6", "ilm_stars"):
        study = STUDIES.get(name)()
        values = [number.value for number in shown if number.source.arxiv in study.source]
        assert sorted(values) == pytest.approx(sorted(each.value for each in study.expectations))
