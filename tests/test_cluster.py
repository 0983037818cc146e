"""Studies on a Ray cluster: a real one, on this machine."""

import os
import signal
import sys

import pytest
import ray

from tests.processes import asked_to_end, work_of
from tests.small_study import small_study
from tests.test_studies import newest_step, results, small_process, uninterrupted, wait_for  # noqa: F401
from unforced.errors import UserError
from unforced.runs.folder import RunFolder
from unforced.studies.cluster import RayEngine


def test_a_killed_worker_is_made_good_and_ctrl_c_stops_every_run(tmp_path, uninterrupted):  # noqa: F811
    out, run = tmp_path / "out", tmp_path / "out" / "tiny-0"
    study = small_process(out, "ray")
    wait_for(lambda: (run / "checkpoints").exists() and newest_step(run) >= 50, study)
    first = work_of(run)
    worker = first.parent()
    assert "ray::carry_out" in " ".join([worker.name(), *worker.cmdline()])
    worker.kill()
    wait_for(lambda: not first.is_running(), study)
    reached = newest_step(run)
    wait_for(lambda: newest_step(run) > reached, study)
    process = work_of(run)
    process.suspend()  # so that it cannot be done before it is asked to end
    os.killpg(study.pid, signal.SIGINT)  # as a terminal sends it
    wait_for(lambda: asked_to_end(process), study)
    process.resume()
    output, errors = study.communicate(timeout=120)
    assert study.returncode == 128 + signal.SIGINT, errors
    assert "'tiny-0': ('stopped', 2)" in output
    assert "stopped by SIGTERM" in (out / "logs" / "tiny-0.log").read_text()
    assert not any(RunFolder(out / name).busy for name in small_study().runs)
    assert reached < newest_step(run) < 200
    output, errors = small_process(out, "ray").communicate(timeout=300)
    assert "'tiny-0': ('done', 1)" in output, errors
    assert output.count("done") == 3
    assert results(out) == results(uninterrupted)


def test_without_ray_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^engine='ray' needs Ray.*pip install 'unforced\[ray\]'$"):
        RayEngine()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "auto"])
def test_a_cluster_that_is_not_there_is_one_line(address):
    with pytest.raises(UserError, match=f"^address='{address}': no Ray cluster answers there: "):
        RayEngine(address=address)


def test_a_run_larger_than_any_machine_is_refused():
    with pytest.raises(UserError, match="no machine of the cluster has 4000 CPUs for a run; lower cpus="):
        RayEngine(cpus=4000)
    assert not ray.is_initialized()
