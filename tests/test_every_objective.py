"""Whole runs of every objective: resumed, measured and diagnosed, with each kind of model that fits."""

import math
import shutil

import pytest

from tests.every_objective import every_objective
from tests.pretrained import saved
from tests.runs import metrics, newest_weights, tiny_run, train, unchecked
from unforced.evaluation.accuracy import measure
from unforced.experiment import LoadedRun, diagnose_loaded, diagnose_run
from unforced.models.mamba import Mamba
from unforced.models.pretrained import Pretrained
from unforced.runs.folder import RunFolder
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.store import MemoryStore

OBJECTIVES = every_objective()
BRIEFLY = ["model.layers=1", "max_steps=4", "batch_size=8", "evaluate_every=2", "checkpoint_every=2"]
BRIEFLY += ["num_train=64", "num_evaluate=8", "num_test=16"]
ENOUGH = 30, 0.2  # problems for a verdict at this confidence
OTHERS = {
    "mamba": lambda: Mamba(layers=1, width=16, state=4),
    "pretrained": lambda: Pretrained(encoding="symbol", name_or_path=saved("gpt2")),
}

every = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


@every
def test_it_resumes_to_the_same_bytes_and_is_diagnosed(objective, tmp_path):
    run, folder = tiny_run(*BRIEFLY).replace(objective=objective), RunFolder(tmp_path / "run")
    train(run, folder.path)
    straight = metrics(folder.path), newest_weights(folder.path)
    assert straight[1][0] == "step-00000004"
    shutil.rmtree(folder.checkpoints / straight[1][0])
    folder.result.unlink()
    train(run, folder.path, resume=True)
    assert (metrics(folder.path), newest_weights(folder.path)) == straight
    with unchecked():
        assert diagnose_run(folder.path, *ENOUGH)["verdict"]["name"]


@pytest.mark.parametrize("model", OTHERS)
@every
def test_it_trains_and_is_diagnosed_with_another_model_that_fits(objective, model):
    config = OTHERS[model]()
    if objective.needs.attention not in config.attends:
        pytest.skip(f"{model} has no {objective.needs.attention} attention")
    run = tiny_run(*BRIEFLY, "max_steps=2").replace(objective=objective, model=config)
    with unchecked():
        trainer = Trainer(run, MemoryStore(), start_accelerator(run), measure)
        assert trainer.fit().reason == "steps"
        loaded = LoadedRun(run, trainer.train_module, 2, [])
        diagnosis = diagnose_loaded(loaded, trainer.store.lines, *ENOUGH)
    assert math.isfinite(trainer.store.lines[-1]["loss"])
    assert diagnosis["verdict"]["name"]
