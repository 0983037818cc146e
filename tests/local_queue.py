"""In place of Slurm's queue: submitit's executor for this machine."""

import submitit

from unforced.studies.slurm_queue import safe_path


class LocalQueue:
    """Starts a task at once. sizes: of the arrays submitted. cancelled: ids, of those that ran too."""

    def __init__(self):
        self.jobs, self.sizes, self.cancelled = {}, [], []

    def submit(self, folder, name, tasks):
        executor = submitit.LocalExecutor(folder)
        executor.update_parameters(timeout_min=10, stderr_to_stdout=True)
        with safe_path():
            jobs = executor.submit_array(list(tasks))
        self.jobs |= {job.job_id: job for job in jobs}
        self.sizes.append(len(tasks))
        return jobs

    def states(self):
        return {name: "COMPLETED" if job.done() else "RUNNING" for name, job in self.jobs.items()}

    def cancel(self, ids, pending=False):
        if not pending:
            self.cancelled += ids

    def cancel_all(self, name):
        pass
