"""Models of transformers through the same path as ours: contract, parity, the verbs, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    GPT2Model,
    LlamaConfig,
    LlamaForCausalLM,
)

from tests.pretrained import CAUSAL, VOCAB, save, saved
from tests.runs import tiny_run
from unforced.data.vocabulary import build_codec
from unforced.errors import UserError
from unforced.models.huggingface import read_config
from unforced.models.pretrained import Pretrained, behind_the_contract
from unforced.tasks.path_star import PathStar
from unforced.training.optimizer import build_optimizer
from unforced.training.train_module import build_train_module

TASK = PathStar(degree=2, path_length=3, num_nodes=6)
LENGTH = 20


@pytest.fixture(scope="module", params=CAUSAL)
def folder(request):
    return saved(request.param)


@pytest.fixture(scope="module")
def model(folder):
    config = Pretrained(encoding="symbol", name_or_path=folder)
    torch.manual_seed(0)
    return config.build(build_codec(TASK, config.vocabulary()).vocab_size, LENGTH).eval()


@pytest.fixture
def tokens(model):
    return torch.randint(model.vocab_size, (3, 8), generator=torch.Generator().manual_seed(2))


def test_the_tasks_symbols_come_behind_the_models_own_vocabulary(folder, model):
    codec = build_codec(TASK, Pretrained(encoding="symbol", name_or_path=folder).vocabulary())
    assert (codec.first, codec.mask_token, codec.vocab_size) == (VOCAB, VOCAB + 9, VOCAB + 10)
    assert model.vocab_size == codec.vocab_size
    symbols = TASK.prompts(TASK.sample(np.random.default_rng(0), 4))
    assert (codec.symbols(codec.ids(symbols)) == symbols).all()
    assert codec.symbols(torch.tensor([[0, VOCAB - 1, VOCAB, codec.mask_token]])).tolist() == [
        [-1, -1, 0, -1]
    ]


def test_logits_of_old_tokens_equal_those_of_transformers(folder, model):
    theirs = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.randint(VOCAB, (3, 8), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found = model.logits(model.hidden(tokens))[..., :VOCAB]
        torch.testing.assert_close(found, theirs(tokens).logits)


@pytest.mark.parametrize("family", ["gpt2", "mamba"])
def test_a_matrix_of_the_outputs_own_is_kept_where_the_config_says_it_is_tied(family, tmp_path):
    """Old tokens keep their logits, and the exported folder holds both matrices and says so."""
    network = AutoModelForCausalLM.from_pretrained(save(family, tmp_path / "tied"))
    network.lm_head.weight = torch.nn.Parameter(torch.randn_like(network.lm_head.weight))
    network.config.tie_word_embeddings = False
    network.save_pretrained(folder := tmp_path / "base")
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"tie_word_embeddings": True}))
    model = Pretrained(encoding="symbol", name_or_path=str(folder)).build(VOCAB + 10, LENGTH).eval()
    tokens = torch.arange(8)[None] % VOCAB
    with torch.no_grad():
        expected = network.eval()(tokens).logits
        torch.testing.assert_close(model.logits(model.hidden(tokens))[..., :VOCAB], expected)
        model.to_transformers().save_pretrained(tmp_path / "exported")
        exported = AutoModelForCausalLM.from_pretrained(tmp_path / "exported").eval()
        torch.testing.assert_close(exported(tokens).logits[..., :VOCAB], expected)
    assert not exported.config.tie_word_embeddings


@pytest.mark.parametrize("family", ["gemma3", "llava"])
def test_of_a_model_that_reads_images_too_the_text_part_is_trained_and_exported(family, tmp_path, call):
    folder = save(family, tmp_path / "base")
    theirs = AutoModelForImageTextToText.from_pretrained(folder).eval()
    model = Pretrained(encoding="symbol", name_or_path=folder).build(VOCAB + 10, LENGTH).eval()
    tokens = torch.arange(8)[None]
    with torch.no_grad():
        found = model.logits(model.hidden(tokens))[..., :VOCAB]
        torch.testing.assert_close(found, theirs(tokens).logits)
    assert not any("vision" in name for name, _ in model.named_parameters())
    sizes = ["task.path_length=3", "task.num_nodes=6", "num_train=16", "batch_size=8", "max_steps=1"]
    sizes += ["num_evaluate=4", "num_test=4", "epochs=null", "precision=fp32", f"model.name_or_path={folder}"]
    start = ["train", "paper_gpt_mini", "model=pretrained", "model.encoding=symbol", *sizes]
    for verb in ([*start, "--out", tmp_path / "run"], ["export", tmp_path / "run", "--to", tmp_path / "to"]):
        code, _, errors = call(*verb)
        assert code == 0, errors
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "to")
    assert exported.config.get_text_config() is exported.config


def test_causal_rows_without_padding_take_pytorchs_causal_attention(folder, model, tokens, monkeypatch):
    """No mask is built, by us or by transformers; with one, results are equal."""
    if model.attends == {"causal"}:
        pytest.skip("no attention")
    masks, whole = [], F.scaled_dot_product_attention

    def spy(query, key, value, attn_mask=None, **options):
        masks.append((attn_mask, options.get("is_causal", False)))
        return whole(query, key, value, attn_mask=attn_mask, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", spy)
    monkeypatch.setattr("transformers.masking_utils.sdpa_mask", None)
    with torch.no_grad():
        fast = model.hidden(tokens)
        assert masks == [(None, True)] * len(masks) != []
        cache = model.new_cache(len(tokens), tokens.shape[1])
        model.hidden(tokens[:, :-1], cache=cache)
        last = model.hidden(tokens[:, -1:], cache=cache)
        assert all(mask is None for mask, _ in masks)
        counting = torch.arange(tokens.shape[1])[None]
        slow = model.hidden(tokens, positions=counting)
        assert masks[-1][0] is not None
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(fast[:, -1:], last)


def test_the_kernel_for_short_texts_says_what_pytorchs_says(folder, model, tokens):
    """With a cache, with padding, and with several queries for each head of keys, too."""
    if model.attends == {"causal"}:
        pytest.skip("no attention")
    padding = torch.ones_like(tokens, dtype=torch.bool)
    padding[0, :3] = False
    said = {}
    for name in ("sdpa", "math"):
        assert model.select_kernels(torch.device("cpu"), torch.float32, 8, {"attention": name}) == {
            "attention": name
        }
        with torch.no_grad():
            cache = model.new_cache(len(tokens), 8)
            model.hidden(tokens[:, :4], padding=padding[:, :4], cache=cache)
            later = model.hidden(tokens[:, 4:], padding=padding, cache=cache)
            said[name] = [model.hidden(tokens), later]
    torch.testing.assert_close(said["math"], said["sdpa"])
    assert model.select_kernels(torch.device("cpu"), torch.bfloat16, 8, {}) == {"attention": "math"}


def test_fewer_heads_of_keys_than_of_queries(tokens):
    config = LlamaConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2
    )
    model = behind_the_contract(LlamaForCausalLM(config), {}, 8)
    said = []
    for name in ("sdpa", "math"):
        model.select_kernels(torch.device("cpu"), torch.float32, 8, {"attention": name})
        with torch.no_grad():
            said.append(model.hidden(tokens % 11))
    torch.testing.assert_close(*said)


def test_random_weights_are_those_of_the_seed_and_not_the_models(folder):
    config = Pretrained(encoding="symbol", name_or_path=folder)

    def built(weights, seed):
        torch.manual_seed(seed)
        model = config.model_copy(update={"weights": weights}).build(2 * VOCAB, LENGTH)
        return next(p for p in model.parameters() if p.dim() == 2).detach()[:VOCAB]

    drawn = [built("random", seed) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert not torch.allclose(drawn[0], built("pretrained", 0), atol=1e-2)
    with pytest.raises(ValidationError, match="drop lora_rank"):
        Pretrained(name_or_path=folder, weights="random", lora_rank=2)


def test_training_mode_adds_no_chance(model, tokens):
    model.train()
    assert torch.equal(model.hidden(tokens), model.hidden(tokens))
    model.eval()


PIPELINES = [(family, "objective=next_token") for family in CAUSAL]
PIPELINES += [("gpt2", "objective=teacherless"), ("gpt2", "order=reversed")]


@pytest.mark.parametrize(("family", "name"), PIPELINES)
def test_a_model_goes_through_train_resume_evaluate_and_diagnose(family, name, tmp_path, call):
    def cli(*arguments):
        code, printed, errors = call(*arguments)
        assert code == 0, errors
        return printed

    out = tmp_path / "run"
    sizes = ["task.path_length=3", "task.num_nodes=6", "num_train=64", "batch_size=16", "max_steps=6"]
    sizes += ["checkpoint_every=3", "evaluate_every=3", "num_evaluate=20", "num_test=40", "epochs=null"]
    recipe = [
        "paper_gpt_mini",
        "model=pretrained",
        "model.encoding=symbol",
        f"model.name_or_path={saved(family)}",
        *sizes,
        name,
    ]
    code, _, errors = call("train", *recipe, "--out", str(out))
    assert code == 0
    assert "TFLOP to train: 6 steps of 16 problems; 0 TFLOP to measure 240 answers" in errors
    result = json.loads((out / "result.json").read_text())
    assert result["steps"] == 6
    assert result["flops"] > 0
    assert json.loads(cli("evaluate", str(out), "--json"))["test.free.exact"]["total"] == 40
    assert "verdict" in json.loads(
        cli("diagnose", str(out), "--json", "--count", "200", "--confidence", "0.51")
    )
    last = out / "checkpoints" / "step-00000006"
    weights = (last / "learner.safetensors").read_bytes()
    (out / "result.json").unlink()
    shutil.rmtree(last)
    cli("train", *recipe, "--out", str(out), "--resume")
    assert (last / "learner.safetensors").read_bytes() == weights


def test_a_model_whose_operations_cannot_be_counted_is_trained_all_the_same(tmp_path, call):
    """A mixture of experts: PyTorch's grouped products have no shape alone."""
    folder = save("mixtral", tmp_path / "mixtral")
    sizes = ["task.path_length=3", "task.num_nodes=6", "num_train=16", "batch_size=8", "max_steps=1"]
    sizes += ["num_evaluate=4", "num_test=4", "epochs=null", "precision=fp32"]
    model = ["model=pretrained", "model.encoding=symbol", f"model.name_or_path={folder}"]
    code, _, errors = call("train", "paper_gpt_mini", *model, *sizes, "--out", str(tmp_path / "run"))
    assert code == 0, errors
    assert "floating-point operations cannot be counted, the result has none (" in errors
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["steps"] == 1
    assert "flops" not in result


REFUSED = {
    "t5": "encodes before it decodes; take a decoder-only model",
    "qwen2_vl": r"has no causal language model for the text part of .* \(qwen2_vl\); take a model",
    "bert": r"\(bert\) is a masked language model, which sees the tokens after .*decoder-only",
    "lfm2": r"\(lfm2\) does not keep padding out of what it says; take a model of the GPT-2",
    "jamba": r"\(jamba\) does not keep padding out of what it says; take a model of the GPT-2",
    "rwkv": r"\(rwkv\) does not run on PyTorch's attention, which masks padding here; take a model of",
}


@pytest.mark.parametrize("family", REFUSED)
def test_a_model_that_does_not_fit_is_refused_in_one_line(family, tmp_path):
    config = Pretrained(encoding="symbol", name_or_path=save(family, tmp_path / family))
    with pytest.raises(UserError, match=REFUSED[family]) as error:
        config.build(build_codec(TASK, config.vocabulary()).vocab_size, LENGTH)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("family", ["mixtral", "opt"])
def test_a_family_that_is_not_named_is_taken_where_it_does_the_same(family, tmp_path):
    model = Pretrained(encoding="symbol", name_or_path=save(family, tmp_path / family)).build(VOCAB, LENGTH)
    rows, real = torch.arange(8).repeat(2, 1), torch.ones(2, 8, dtype=torch.bool)
    real[0, :3] = False
    with torch.no_grad():
        alone = model.hidden(rows[:1, 3:], attention="full")
        torch.testing.assert_close(model.hidden(rows, padding=real, attention="full")[:1, 3:], alone)


def test_a_network_that_takes_no_positions_is_refused(tmp_path, monkeypatch):
    forward = GPT2Model.forward

    def without_positions(self, *arguments, position_ids=None, **options):
        if position_ids is not None:
            raise TypeError("no positions\nhere")
        return forward(self, *arguments, **options)

    monkeypatch.setattr(GPT2Model, "forward", without_positions)
    config = Pretrained(encoding="symbol", name_or_path=save("gpt2", tmp_path / "gpt2"))
    line = (
        r"\(gpt2\) does not take positions and masks as these families do \(no positions here\); take a model"
    )
    with pytest.raises(UserError, match=line):
        config.build(VOCAB, LENGTH)


def test_a_model_with_too_few_positions_is_refused(tmp_path):
    config = Pretrained(encoding="symbol", name_or_path=save("gpt2", tmp_path / "short"))
    with pytest.raises(
        UserError, match="reads at most 64 tokens, and this task has 65; make the task smaller"
    ):
        config.build(build_codec(TASK, config.vocabulary()).vocab_size, 65)


def test_a_model_with_a_window_shorter_than_the_task_is_refused(tmp_path):
    config = Pretrained(encoding="symbol", name_or_path=save("mistral", tmp_path / "window"))
    with pytest.raises(UserError, match="attends to no more than the last 6 tokens, and this task has 20"):
        config.build(build_codec(TASK, config.vocabulary()).vocab_size, LENGTH)


def test_a_mamba_whose_blocks_are_not_ours_is_refused(tmp_path):
    config = Pretrained(encoding="symbol", name_or_path=save("biased_mamba", tmp_path / "biased"))
    with pytest.raises(UserError, match="a Mamba with use_bias True is not supported, only False"):
        config.build(build_codec(TASK, config.vocabulary()).vocab_size, LENGTH)


def test_muon_takes_the_matrices_of_every_family(folder):
    run = tiny_run(
        "model=pretrained",
        "model.encoding=symbol",
        f"model.name_or_path={folder}",
        "optimizer=muon",
        "weight_decay=0.3",
    )
    train_module = build_train_module(run)
    inner, outer = build_optimizer(run, train_module).parts
    names = {id(parameter): name for name, parameter in train_module.named_parameters()}
    taken = [names[id(p)] for group in inner.param_groups for p in group["params"]]
    assert len(taken) >= 8
    assert not [name for name in taken if "A_log" in name or "embed" in name or "wte" in name]
    undecayed = [p for group in outer.param_groups if not group["weight_decay"] for p in group["params"]]
    assert all(p.dim() < 2 or names[id(p)].endswith("A_log") for p in undecayed)


def unfinished(tmp_path):
    """A folder that lacks the weights of a block."""
    folder = tmp_path / "unfinished"
    save("gpt2", folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if ".h.1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def damaged(tmp_path):
    folder = tmp_path / "damaged"
    save("gpt2", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    return folder


def empty(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.mark.parametrize("make", [damaged, unfinished, empty])
def test_a_folder_that_is_no_model_is_refused_in_one_line(make, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    read_config.cache_clear()
    folder = make(tmp_path)
    config = Pretrained(encoding="symbol", name_or_path=str(folder))
    with pytest.raises(UserError) as error:
        config.build(build_codec(TASK, config.vocabulary()).vocab_size, LENGTH)
    line = str(error.value)
    assert line.startswith(f"model.name_or_path: no causal language model could be loaded from {folder} (")
    assert line.endswith("give a folder with config.json and weights, or a name on a hub that can be reached")
    assert "\n" not in line


MOVED = "; if a run started from it, say where it is now with base=FOLDER"
ABSENT = {
    "/absent": "/absent",
    "./absent": "HERE/absent",
    "../absent": "PARENT/absent",
    "~/absent": "HOME/absent",
}
ABSENT |= {"some/where/absent": "", "what is this": "", "absent/": ""}


@pytest.mark.parametrize("given", ABSENT)
def test_a_path_to_no_folder_is_refused_in_one_line(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/HOME")
    recorded = ABSENT[given].replace("HERE", str(tmp_path)).replace("PARENT", str(tmp_path.parent))
    recorded = recorded.replace("HOME", "/HOME")
    with pytest.raises(UserError) as error:
        build_codec(TASK, Pretrained(encoding="symbol", name_or_path=given).vocabulary())
    assert str(error.value) == (
        f"model.name_or_path: there is no folder {recorded or given}; give one with config.json and weights, "
        f"or a name on the hub, as OWNER/NAME{MOVED if recorded else ''}"
    )


@pytest.mark.parametrize("name", ["gpt2", "EleutherAI/pythia-1.4b", "owner/name_2.0-x"])
def test_a_name_on_the_hub_is_looked_for(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)  # it answers
    monkeypatch.setattr(AutoConfig, "from_pretrained", staticmethod(lambda *_, **__: 1 / 0))
    read_config.cache_clear()
    with pytest.raises(
        UserError,
        match=f"there is no folder {name} here, and the hub gave no .* .division by zero.; give a folder",
    ):
        build_codec(TASK, Pretrained(encoding="symbol", name_or_path=name).vocabulary())


def test_a_file_of_a_model_is_refused_in_one_line(folder):
    with pytest.raises(UserError) as error:
        build_codec(TASK, Pretrained(encoding="symbol", name_or_path=f"{folder}/config.json").vocabulary())
    assert str(error.value) == (
        f"model.name_or_path: {folder}/config.json is a file; give the folder that it is in, {folder}"
    )
