"""Finds and watches the processes of studies."""

import re
import signal
from pathlib import Path

import psutil


def work_of(folder):
    """The process that trains the run in a folder; None if there is none at the moment."""
    processes = psutil.process_iter(["cmdline"])
    return next((each for each in processes if str(folder) in (each.info["cmdline"] or [])), None)


def asked_to_end(process):
    """Whether a SIGTERM waits for a process that is held."""
    (pending,) = re.findall(r"ShdPnd:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return int(pending, 16) >> (signal.SIGTERM - 1) & 1
