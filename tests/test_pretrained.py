"""Models of transformers through the same path as ours: contract, parity, the verbs, and what is refused."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.pretrained import CAUSAL, VOCAB, save, saved
from unforced.errors import UserError
from unforced.models.pretrained import Pretrained, _config
from unforced.tasks.path_star import PathStar

TASK = PathStar(degree=2, path_length=3, num_nodes=6)
LENGTH = 20


@pytest.fixture(scope="module", params=CAUSAL)
def folder(request):
    return saved(request.param)


@pytest.fixture(scope="module")
def model(folder):
    config = Pretrained(name_or_path=folder)
    torch.manual_seed(0)
    return config.build(config.codec(TASK).vocab_size, LENGTH).eval()


@pytest.fixture
def tokens(model):
    return torch.randint(model.vocab_size, (3, 8), generator=torch.Generator().manual_seed(2))


def test_the_tasks_symbols_come_behind_the_models_own_vocabulary(folder, model):
    codec = Pretrained(name_or_path=folder).codec(TASK)
    assert (codec.first, codec.dummy, codec.vocab_size) == (VOCAB, VOCAB + 9, VOCAB + 10)
    assert model.vocab_size == codec.vocab_size
    symbols = TASK.prompts(TASK.sample(np.random.default_rng(0), 4))
    assert (codec.decode(codec.encode(symbols)) == symbols).all()
    assert codec.decode(torch.tensor([[0, VOCAB - 1, VOCAB, codec.dummy]])).tolist() == [[-1, -1, 0, -1]]


def test_logits_of_old_tokens_equal_those_of_transformers(folder, model):
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.randint(VOCAB, (3, 8), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found = model.logits(model.hidden(tokens))[..., :VOCAB]
        torch.testing.assert_close(found, theirs(tokens).logits)


def test_training_mode_adds_no_chance(model, tokens):
    model.train()
    assert torch.equal(model.hidden(tokens), model.hidden(tokens))
    model.eval()


@pytest.mark.parametrize("name", ["objective=next_token", "objective=teacherless", "order=reversed"])
def test_a_model_goes_through_train_resume_evaluate_and_diagnose(folder, name, tmp_path, call):
    def cli(*arguments):
        code, printed, errors = call(*arguments)
        assert code == 0, errors
        return printed

    out = tmp_path / "run"
    path = f"model.name_or_path={folder}"
    sizes = [
        "task.path_length=3",
        "task.num_nodes=6",
        "num_train=64",
        "batch_size=16",
        "max_steps=6",
        "num_test=40",
    ]
    recipe = ["paper_gpt_mini", "model=pretrained", path, "epochs=null", "num_evaluate=20", *sizes, name]
    cli("train", *recipe, "--out", str(out))
    result = json.loads((out / "result.json").read_text())
    assert result["steps"] == 6
    assert result["flops"] > 0
    assert json.loads(cli("evaluate", str(out), "--json"))["test.free.exact"]["total"] == 40
    assert "verdict" in json.loads(cli("diagnose", str(out), "--json", "--count", "1537"))
    (out / "result.json").unlink()
    cli("train", *recipe, "--out", str(out), "--resume")
    assert json.loads((out / "result.json").read_text())["test.free.exact"] == result["test.free.exact"]


REFUSED = {
    "t5": "encodes before it decodes; take a decoder-only model",
    "bert": "sees the tokens after the one it predicts; take a causal model",
}


@pytest.mark.parametrize("family", REFUSED)
def test_a_model_that_does_not_fit_is_refused_in_one_line(family, tmp_path):
    config = Pretrained(name_or_path=save(family, tmp_path / family))
    with pytest.raises(UserError, match=REFUSED[family]) as error:
        config.build(config.codec(TASK).vocab_size, LENGTH)
    assert "\n" not in str(error.value)


def test_a_model_with_too_few_positions_is_refused(tmp_path):
    config = Pretrained(name_or_path=save("gpt2", tmp_path / "short"))
    with pytest.raises(
        UserError, match="reads at most 64 tokens, and this task has 65; make the task smaller"
    ):
        config.build(config.codec(TASK).vocab_size, 65)


def damaged(tmp_path):
    folder = tmp_path / "damaged"
    save("gpt2", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    return folder


def empty(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.mark.parametrize("make", [damaged, empty, lambda path: path / "absent"])
def test_a_folder_that_is_no_model_is_refused_in_one_line(make, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    _config.cache_clear()
    folder = make(tmp_path)
    config = Pretrained(name_or_path=str(folder))
    with pytest.raises(UserError) as error:
        config.build(config.codec(TASK).vocab_size, LENGTH)
    line = str(error.value)
    assert line.startswith(f"model.name_or_path: no causal language model could be loaded from {folder} (")
    assert line.endswith("give a folder with config.json and weights, or a name on a hub that can be reached")
    assert "\n" not in line
