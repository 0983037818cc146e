"""Names that other packages add: one that is taken, or cannot be had, concerns no other."""

import json
import sys

import pytest

from tests.runs import unchecked
from unforced.errors import UserError
from unforced.registry import TASKS, Registry
from unforced.tasks.path_star import PathStar

OWN = {"mine": "unforced.tasks.path_star:PathStar"}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Let a distribution be installed that adds tasks: by name, `module:attribute`."""

    def install(distribution, tasks, **modules):
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = [f"{name} = {target}" for name, target in tasks.items()]
        (info / "entry_points.txt").write_text("\n".join(["[unforced.tasks]", *lines, ""]))
        for module, source in modules.items():
            (tmp_path / f"{module}.py").write_text(source)
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_a_taken_name_and_a_broken_module_concern_no_other_name(install):
    tasks = {
        "mine": "plugin_a:Other",
        "broken": "plugin_b:Task",
        "lacking": "plugin_a:No",
        "z": "plugin_a:Task",
    }
    source = 'class Task:\n    """A task of a plug-in."""\n'
    install("some-tasks", tasks, plugin_a=source, plugin_b="import no_such_package")
    registry = Registry("task", OWN)
    for _ in range(2):  # asking again changes nothing
        assert registry.names() == ["broken", "lacking", "mine", "z"]
        assert registry.get("z").__name__ == "Task"
        with pytest.raises(
            UserError, match=r"task 'mine' is there twice: .*PathStar of unforced and .* of some-tasks"
        ):
            registry.get("mine")
        with pytest.raises(UserError, match=r"'broken': plugin_b:Task of some-tasks .*no_such_package"):
            registry.get("broken")
        with pytest.raises(UserError, match=r"'lacking': plugin_a:No of some-tasks .*AttributeError"):
            registry.get("lacking")


def test_a_taken_name_cannot_be_registered():
    registry = Registry("task", OWN)
    registry.register("mine", OWN["mine"])  # the same again
    with pytest.raises(UserError, match=r"task 'mine' is there twice"):
        registry.register("mine", "elsewhere:Task")
    registry.register("other", "elsewhere:Task")
    assert registry.names() == ["mine", "other"]


def test_a_class_in_place_of_its_place_cannot_be_registered():
    registry = Registry("task", OWN)
    with unchecked(), pytest.raises(UserError, match=r"task 'other': say where it is, as in"):
        registry.register("other", PathStar)
    assert registry.names() == ["mine"]


def test_the_list_shows_the_rest_and_why_one_cannot_be_had(install, call):
    install("some-tasks", {"broken": "plugin_c:Task"}, plugin_c="1 / 0")
    with TASKS.holding():
        code, output, _ = call("list", "tasks", "--json")
    assert code == 0
    listed = json.loads(output)["tasks"]
    assert "of some-tasks cannot be imported (ZeroDivisionError" in listed["broken"]
    assert listed["path_star"].startswith("Find")
