"""Studies on a Ray cluster: a real one, on this machine."""

import os
import signal
import sys

import psutil
import pytest
import ray

from tests.small_study import small_study
from tests.test_studies import newest_step, results, small_process, uninterrupted, wait_for  # noqa: F401
from unforced.errors import UserError
from unforced.runs.folder import RunFolder
from unforced.studies.cluster import RayEngine


def work_of(folder):
    """The process that trains the run in a folder."""
    (process,) = (
        each for each in psutil.process_iter(["cmdline"]) if str(folder) in (each.info["cmdline"] or [])
    )
    return process


def test_a_killed_worker_is_made_good(tmp_path, uninterrupted):  # noqa: F811
    out = tmp_path / "out"
    study = small_process(out, "ray")
    wait_for(lambda: (out / "tiny-0" / "checkpoints").exists() and newest_step(out / "tiny-0") >= 50, study)
    worker = work_of(out / "tiny-0").parent()
    assert "ray::carry_out" in " ".join([worker.name(), *worker.cmdline()])
    worker.kill()
    output, errors = study.communicate(timeout=300)
    assert study.returncode == 0, errors
    assert "'tiny-0': ('done', 2)" in output
    assert results(out) == results(uninterrupted)
    assert "attempt 2" in (out / "logs" / "tiny-0.log").read_text()


def test_ctrl_c_stops_every_run_with_a_checkpoint(tmp_path, uninterrupted):  # noqa: F811
    out = tmp_path / "out"
    study = small_process(out, "ray")
    wait_for(lambda: (out / "tiny-0" / "checkpoints").exists() and newest_step(out / "tiny-0") >= 10, study)
    os.killpg(study.pid, signal.SIGINT)  # as a terminal sends it
    output, errors = study.communicate(timeout=120)
    assert study.returncode == 128 + signal.SIGINT, errors
    assert "'tiny-0': ('stopped', 1)" in output
    assert "stopped by SIGTERM" in (out / "logs" / "tiny-0.log").read_text()
    assert not any(RunFolder(out / name).busy for name in small_study().runs)
    assert 10 <= newest_step(out / "tiny-0") < 600
    output, errors = small_process(out, "ray").communicate(timeout=300)
    assert output == f"{dict.fromkeys(small_study().runs, ('done', 1))}\n", errors
    assert results(out) == results(uninterrupted)


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^--engine ray needs Ray.*pip install 'unforced\[ray\]'$"):
        RayEngine()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "auto"])
def test_a_cluster_that_is_not_there_is_one_line(address):
    with pytest.raises(UserError, match=f"^--address {address}: no Ray cluster answers there: "):
        RayEngine(address=address)


def test_a_run_larger_than_any_machine_is_refused():
    with pytest.raises(UserError, match="no machine of the cluster has 4000 CPUs for a run; lower --cpus"):
        RayEngine(cpus=4000)
    assert not ray.is_initialized()
