"""What env.json says of the code that ran."""

import subprocess

from unforced.training import environment


def git(folder, *arguments):
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@nowhere"]
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


def test_a_repository_that_the_package_merely_lies_in_is_not_its_own(tmp_path, monkeypatch):
    file = tmp_path / "site-packages" / "environment.py"
    file.parent.mkdir()
    file.write_text("")
    monkeypatch.setattr(environment, "__file__", str(file))
    assert environment.git_commit() is None
    git(tmp_path, "init")
    git(tmp_path, "commit", "--allow-empty", "--message", "somebody's")
    assert environment.git_commit() is None
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "with the package")
    commit = environment.git_commit()
    assert commit is not None
    assert len(commit) == 40
    file.write_text("changed")
    assert environment.git_commit() == f"{commit}+"
