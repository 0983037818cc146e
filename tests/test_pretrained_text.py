"""Models of transformers with their own tokenizers: the verbs on text, ragged batches, adapters, refusals."""

import json
import shutil
from dataclasses import fields

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.pretrained import CAUSAL, save, save_with_symbols, save_with_tokenizer, saved, saved_with_tokenizer
from tests.runs import tiny_run, unchecked
from tests.tokens import END, ending
from unforced.data.vocabulary import build_codec
from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.evaluation.probe import Responses, probe
from unforced.experiment import load_run
from unforced.models.pretrained import Pretrained
from unforced.objectives.moment import Moment
from unforced.tasks.path_star import PathStar
from unforced.training.source import split_problems
from unforced.training.train_module import build_train_module, loss_of

TASK = PathStar(degree=3, path_length=4, num_nodes=120)
GRAPH = ["task.degree=3", "task.path_length=4", "task.num_nodes=120", "precision=fp32"]
SIZES = ["num_train=64", "batch_size=16", "max_steps=6", "learning_rate=1e-2", "checkpoint_every=3"]
SIZES += ["evaluate_every=3", "num_evaluate=20", "num_test=40"]
WAYS = ["objective=next_token", "objective=teacherless", "order=reversed"]
LORA = ["model.lora_rank=2"]


def own(family, *overrides):
    return ["model=pretrained", f"model.name_or_path={saved_with_tokenizer(family)}", *GRAPH, *overrides]


@pytest.fixture(params=CAUSAL)
def family(request):
    return request.param


def subject_of(run):
    return Evaluator.of(run, build_train_module(run).eval())


PIPELINES = [(family, WAYS[0]) for family in CAUSAL] + [("gpt2", way) for way in [*WAYS[1:], *LORA]]


@pytest.mark.parametrize(("family", "way"), PIPELINES)
def test_a_model_goes_through_train_resume_evaluate_diagnose_and_export(family, way, tmp_path, call):
    def cli(*arguments):
        code, printed, errors = call(*arguments)
        assert code == 0, errors
        return printed

    out, folder = tmp_path / "run", tmp_path / "exported"
    recipe = ["paper_gpt_mini", *own(family, *SIZES, "epochs=null", way)]
    cli("train", *recipe, "--out", str(out))
    assert json.loads((out / "result.json").read_text())["steps"] == 6
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
    cli("export", str(out), "--to", str(folder))
    check_exported(out, folder)
    again = ["paper_gpt_mini", *own(family, *SIZES, "epochs=null", f"model.name_or_path={folder}")]
    cli("train", *again, "max_steps=1", "--out", str(tmp_path / "again"))
    asked = ["--task", "path_star", *(field.removeprefix("task.") for field in GRAPH[:3]), "--shots", "1"]
    asked = json.loads(cli("ask", str(folder), *asked, "--count", "4", "--json"))
    assert asked["test.free.exact"]["total"] == 4


def check_exported(out, folder):
    """What was exported says, and decodes by the code in its card, what the run does."""
    loaded = load_run(out)
    run, evaluator = loaded.run, Evaluator.of(loaded.run, loaded.train_module)
    problems = split_problems(run, "test", 6)
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found = {}
    code = (folder / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    exec(code.replace('folder = "."', f"folder = {str(folder)!r}").replace("print(", "texts = list("), found)
    said = [text.partition(END)[0] if END in text else text for text in found["texts"]]
    ours = answers(evaluator, problems, evaluator.free)
    for row in range(6):
        alone = problems.take(slice(row, row + 1))
        batch = evaluator.encode(alone)
        tokens = torch.cat([batch.prompt, batch.answer[:, :-1]], dim=1)
        line = run.task.text.prompts(alone)[0]
        assert tokenizer(line).input_ids == batch.prompt[0].tolist()
        with evaluator.inference():
            expected = evaluator.model.logits(evaluator.model.hidden(tokens))
            torch.testing.assert_close(network(tokens).logits, expected, rtol=1e-4, atol=1e-4)
        if row < len(said):
            assert found["prompts"][row] == line
            read = run.task.text.read_answers([said[row]])[:, :: 1 if run.order == "forward" else -1]
            assert run.task.score(alone, read).kind == run.task.score(alone, ours[row : row + 1]).kind


@pytest.mark.parametrize("objective", ["next_token", "teacherless"])
def test_a_model_whose_tokenizer_ends_texts_is_exported_to_read_prompts_as_in_training(
    objective, tmp_path, call
):
    folder = save_with_tokenizer("gpt2", tmp_path / "base")
    ending(AutoTokenizer.from_pretrained(folder)).save_pretrained(folder)
    ways = [f"model.name_or_path={folder}", f"objective={objective}", "epochs=null", *SIZES]
    assert call("train", "paper_gpt_mini", *own("gpt2", *ways), "--out", tmp_path / "run")[0] == 0
    assert call("export", tmp_path / "run", "--to", tmp_path / "exported")[0] == 0
    check_exported(tmp_path / "run", tmp_path / "exported")


def exported_config(family, base, tmp_path, call):
    """The config of a base model, and what an exported run of it says instead."""
    run = ["paper_gpt_mini", *own(family, f"model.name_or_path={base}", "epochs=null", *SIZES, "max_steps=1")]
    assert call("train", *run, "--out", tmp_path / "run")[0] == 0
    assert call("export", tmp_path / "run", "--to", tmp_path / "exported")[0] == 0
    was, now = (json.loads((folder / "config.json").read_text()) for folder in (base, tmp_path / "exported"))
    return was, {key: now.get(key) for key in was if was[key] != now.get(key)}


def test_an_exported_model_has_the_config_of_its_base(family, tmp_path, call):
    base = tmp_path / "base"
    save_with_tokenizer(family, base)
    config = json.loads((base / "config.json").read_text())
    config |= {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": 2}
    (base / "config.json").write_text(json.dumps(config))
    was, changed = exported_config(family, base, tmp_path, call)
    assert changed == {"vocab_size": 301}
    if family == "gpt2":
        assert was["resid_pdrop"] == was["summary_first_dropout"] == 0.1


class OneAtATime(Evaluator):
    """A evaluator that is asked about one problem at a time, so that nothing is padded."""

    rows = 1


@pytest.mark.parametrize("way", WAYS)
def test_a_ragged_batch_says_what_its_problems_say_one_at_a_time(family, way):
    evaluator = subject_of(tiny_run(*own(family, way)))
    held_out = TASK.sample(np.random.default_rng(0), 12)
    assert evaluator.encode(held_out).prompt_mask is not None
    together = probe(evaluator, held_out).responses
    with unchecked():
        alone = probe(OneAtATime(**vars(evaluator)), held_out).responses
    for field in fields(Responses):
        found, parts = getattr(together, field.name), getattr(alone, field.name)
        same = np.allclose(found, parts, rtol=1e-3, atol=1e-6) if found.dtype.kind == "f" else found == parts
        assert np.all(same), field.name
    assert_same_tokens(evaluator, held_out)


def assert_same_tokens(evaluator, problems):
    """Free answers are the same tokens, in a batch and alone, readable or not."""
    with evaluator.inference():
        decode = evaluator.decoder.decode
        together = decode(evaluator.model, evaluator.heads, evaluator.encode(problems).prompts)
        for i in range(len(problems)):
            alone = evaluator.encode(problems.take(slice(i, i + 1))).prompts
            assert torch.equal(decode(evaluator.model, evaluator.heads, alone)[0], together[i])
    assert len(together.unique(dim=0)) > 1


@pytest.mark.parametrize("objective", ["next_token", "teacherless"])
def test_the_loss_of_a_ragged_batch_is_the_sum_of_its_problems_losses(family, objective):
    run = tiny_run(*own(family, f"objective={objective}"))
    train_module, problems = build_train_module(run), TASK.sample(np.random.default_rng(1), 8)

    def losses_of(some):
        batch = run.codec.encode(some, run.order)
        (rows,) = train_module(run.objective.view(batch, Moment(len(batch)))).values()
        return rows

    whole = losses_of(problems)
    parts = [losses_of(problems.take(slice(i, i + 1))).sum() for i in range(8)]
    assert whole.tolist() == pytest.approx([part.item() for part in parts], rel=1e-5)
    whole.sum().backward()
    gradients = [p.grad.clone() for p in train_module.parameters()]
    train_module.zero_grad()
    sum(parts).backward()
    for whole, parameter in zip(gradients, train_module.parameters(), strict=True):
        torch.testing.assert_close(whole, parameter.grad, rtol=1e-3, atol=1e-5)


def test_only_tokens_of_chosen_nodes_weigh():
    run = tiny_run(*own("gpt2", "objective.train_positions=[1]", "order=reversed"))
    batch = run.codec.encode(TASK.sample(np.random.default_rng(1), 8), run.order)
    weights = run.objective.view(batch, Moment(len(batch))).weights
    assert torch.equal(weights, batch.answer_places == 1)
    assert (weights.sum(1) >= 2).all()  # its digits, and the comma


def trained(family, *overrides):
    """A train_module before and after a few steps; tensors by name."""
    from unforced.training.optimizer import build_optimizer

    run = tiny_run(*own(family, "weight_decay=0.1", *overrides))
    train_module = build_train_module(run)
    before = {name: tensor.clone() for name, tensor in train_module.state_dict().items()}
    optimizer = build_optimizer(run, train_module)
    problems = TASK.sample(np.random.default_rng(2), 8)
    for _ in range(3):
        batch = run.codec.encode(problems, run.order)
        with torch.autocast("cpu", torch.bfloat16, enabled=run.model.origin.keeps_bf16):
            loss = loss_of(train_module, run.objective.view(batch, Moment(len(batch))))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return run, train_module, before


@pytest.mark.parametrize("more", [*LORA, "objective=teacherless", "order=reversed"])
def test_what_transformers_is_given_computes_what_was_trained(family, more):
    run, train_module, _ = trained(family, more)
    model, noise = train_module.eval().model, torch.Generator().manual_seed(3)
    tokens = torch.randint(run.codec.vocab_size, (3, 20), generator=noise)
    with torch.no_grad():
        ours = model.logits(model.hidden(tokens))
        torch.testing.assert_close(model.to_transformers()(tokens).logits, ours, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weights", ["fp32", "bf16"])
def test_adapters_and_new_tokens_alone_are_trained(family, weights):
    run, train_module, before = trained(
        family, *LORA, "objective=teacherless", f"model.frozen_weights={weights}", "precision=auto"
    )
    after = train_module.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    tables = {name for name in changed if "lora_" not in name}
    assert len(changed - tables) >= 8
    assert tables
    assert all(name.endswith(("wte.weight", "embed_in.weight", "embed_tokens.weight", "embeddings.weight"))
               or "embed_out" in name or "lm_head" in name for name in tables)  # fmt: skip
    new = run.codec.mask_token
    for name in tables:
        assert torch.equal(after[name][:new], before[name][:new]), name
    dtypes = {tensor.dtype for name, tensor in after.items() if ".base_layer.weight" in name}
    assert dtypes == {torch.bfloat16 if weights == "bf16" else torch.float32}
    assert all(p.dtype == torch.float32 for p in train_module.parameters() if p.requires_grad)


def test_a_mask_token_in_a_row_that_the_model_has_to_spare_is_trained(tmp_path):
    save_with_tokenizer("gpt_neox", tmp_path)
    folder = save("gpt_neox", tmp_path, vocab=320, positions=128)
    run, train_module, before = trained(
        "gpt_neox", f"model.name_or_path={folder}", *LORA, "objective=teacherless"
    )
    name = "model.network.gpt_neox.embed_in.weight"
    table = train_module.state_dict()[name]
    assert (run.codec.mask_token, len(table)) == (300, 320)
    assert torch.equal(table[:300], before[name][:300])
    assert not torch.equal(table[300], before[name][300])


def test_new_tokens_in_rows_to_spare_are_drawn_as_the_old_ones_are(tmp_path):
    save_with_tokenizer("gpt_neox", tmp_path)
    folder = save("gpt_neox", tmp_path, vocab=320, positions=128)
    weights = load_file(tmp_path / "model.safetensors")
    for name in ("gpt_neox.embed_in.weight", "embed_out.weight"):
        weights[name][300:] = 100.0
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    codec = build_codec(TASK, Pretrained(name_or_path=folder).vocabulary())
    model = Pretrained(name_or_path=folder).build(codec.vocab_size, 100)
    assert (codec.mask_token, codec.vocab_size) == (300, 320)
    for table, name in zip(
        model.token_tables(), ("gpt_neox.embed_in.weight", "embed_out.weight"), strict=True
    ):
        assert torch.equal(table[:300], weights[name][:300])
        assert (table[300] - table[:300].mean(0)).abs().max() < 6 * table[:300].std()
    own_mask = Pretrained(name_or_path=folder, mask_token="<bos>").build(320, 100)
    assert torch.equal(own_mask.token_tables()[0], weights["gpt_neox.embed_in.weight"])


def test_symbols_that_share_tokens_have_no_probabilities_and_are_diagnosed_all_the_same(tmp_path, call):
    sums = ["task=addition", "precision=fp32", "epochs=null", *SIZES]
    recipe = [
        "paper_gpt_mini",
        "model=pretrained",
        f"model.name_or_path={saved_with_tokenizer('gpt2')}",
        *sums,
    ]
    assert call("train", *recipe, "--out", str(tmp_path / "run"))[0] == 0
    code, printed, errors = call(
        "diagnose", str(tmp_path / "run"), "--json", "--count", "200", "--confidence", "0.51"
    )
    assert code == 0, errors
    assert "joins symbols" in json.loads(printed)["probability"]["token_0"]["does_not_apply"]


def test_a_checkpoint_holds_what_is_trained(tmp_path, call):
    recipe = ["paper_gpt_mini", *own("gpt2", *SIZES, "epochs=null", *LORA)]
    assert call("train", *recipe, "--out", str(tmp_path / "run"))[0] == 0
    saved_ = load_file(tmp_path / "run" / "checkpoints" / "step-00000006" / "learner.safetensors")
    assert all("lora_" in name or name.endswith("wte.weight") for name in saved_)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert 0 < result["trained_parameters"] < result["parameters"]


def test_a_run_whose_frozen_weights_have_changed_is_refused_in_one_line(tmp_path, call):
    base, out = tmp_path / "base", tmp_path / "run"
    shutil.copytree(saved_with_tokenizer("gpt2"), base)
    recipe = ["paper_gpt_mini", *own("gpt2", *SIZES, "epochs=null", f"model.name_or_path={base}", *LORA)]
    assert call("train", *recipe, "--out", str(out))[0] == 0
    weights, result = (base / "model.safetensors").read_bytes(), (out / "result.json").read_bytes()
    changed = load_file(base / "model.safetensors")
    changed["transformer.h.1.mlp.c_fc.bias"][0] += 1
    save_file(changed, base / "model.safetensors", metadata={"format": "pt"})

    def refused(*arguments):
        code, _, errors = call(*arguments)
        assert (code, errors.count("\n")) == (2, 1), errors
        return f"what was trained stands beside other weights than {base} has now; put back the" in errors

    assert refused("evaluate", out)
    assert refused("diagnose", out, "--count", "200", "--confidence", "0.51")
    assert refused("export", out, "--to", tmp_path / "exported")
    (out / "result.json").unlink()
    assert refused("train", *recipe, "--out", out, "--resume")
    for checkpoint in (out / "checkpoints").iterdir():
        state = json.loads((checkpoint / "state.json").read_text())
        assert state.pop("frozen_sha256")
        (checkpoint / "state.json").write_text(json.dumps(state))
    assert call("evaluate", out)[0] == 0  # a checkpoint from before they were hashed
    (base / "model.safetensors").write_bytes(weights)
    (out / "result.json").write_bytes(result)
    assert call("diagnose", out, "--count", "200", "--confidence", "0.51")[0] == 0


def test_nothing_is_frozen_where_all_weights_are_trained():
    assert build_train_module(tiny_run(*own("gpt2"))).frozen_sha256 is None
    hashes = {
        build_train_module(tiny_run(*own("gpt2", *LORA, f"seed={seed}"))).frozen_sha256 for seed in (0, 1)
    }
    assert len(hashes) == 1
    assert None not in hashes


def counted_passes(train_module):
    """Count the forward passes of the first block's first norm."""
    passes = []
    norms = [part for part in train_module.modules() if type(part).__name__.endswith("Norm")]
    norms[0].register_forward_hook(lambda *_: passes.append(1))
    return passes


@pytest.mark.parametrize("more", [[], LORA])
def test_checkpointed_activations_are_computed_again_and_change_no_gradient(family, more):
    gradients, counts = [], []
    for checkpointing in ("false", "true"):
        run = tiny_run(*own(family, *more, f"model.gradient_checkpointing={checkpointing}"))
        train_module = build_train_module(run)
        passes = counted_passes(train_module)
        batch = run.codec.encode(TASK.sample(np.random.default_rng(2), 4), run.order)
        loss_of(train_module, run.objective.view(batch, Moment(len(batch)))).backward()
        gradients.append([p.grad for p in train_module.parameters() if p.requires_grad])
        counts.append(len(passes))
    assert counts == [1, 2]
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


@pytest.mark.parametrize("more", [[], LORA])
def test_a_learner_to_be_trained_drops_nothing_out(family, more):
    run = tiny_run(*own(family, *more, "model.gradient_checkpointing=true"))
    train_module = build_train_module(run)
    assert all(module.training for module in train_module.modules())
    assert {each.p for each in train_module.modules() if isinstance(each, torch.nn.Dropout)} <= {0.0}
    batch = run.codec.encode(TASK.sample(np.random.default_rng(2), 4), run.order)
    view = run.objective.view(batch, Moment(len(batch)))
    with torch.no_grad():
        assert (
            loss_of(train_module, view) == loss_of(train_module, view) == loss_of(train_module.eval(), view)
        )


def test_a_mask_token_of_its_own_adds_no_token():
    model = Pretrained(name_or_path=saved_with_tokenizer("gpt2"), mask_token="<bos>")
    codec = build_codec(TASK, model.vocabulary())
    assert codec.vocab_size == 300
    assert codec.tokenizer.convert_ids_to_tokens(codec.mask_token) == "<bos>"
    assert build_codec(TASK, Pretrained(name_or_path=model.name_or_path).vocabulary()).vocab_size == 301


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["model.mask_token=nonsense"],
            "model.mask_token: nonsense is not a token of the model's tokenizer; take one",
        ),
        (["model.mask_token=<eos>"], "model.mask_token: <eos> may stand in problems, or begins or ends"),
        (["model.mask_token=|"], "model.mask_token: | may stand in problems, or begins or ends"),
        (
            ["model.mask_token=|", "model.encoding=symbol"],
            "model.mask_token: encoding=symbol has one of its own",
        ),
        (["model.lora_rank=100000"], "model.lora_rank: 100000 is more than 16, the highest rank of a map in"),
        (["model.lora_alpha=4"], "model.lora_alpha: it scales adapters, and there are none; give lora_rank"),
        (
            ["model.revision=main"],
            "is a folder, which has one alone; drop revision, or give a name on the hub",
        ),
        (["model.frozen_weights=bf16"], "model.frozen_weights: bf16 would round away"),
        (["model.frozen_weights=bf16", *LORA, "precision=fp32"], "precision: fp32 does not go with"),
        (["model.name_or_path=" + saved("gpt2")], "there is no tokenizer in"),
        (["model.name_or_path="], "model.name_or_path: give a folder with a causal language model"),
        (["task.degree=9", "task.num_nodes=400", "task.path_length=40"], "reads at most 2048 tokens"),
    ],
)
def test_what_cannot_be_trained_is_one_line(overrides, said, tmp_path, call):
    recipe = ["paper_gpt_mini", *own("gpt2", *SIZES, "epochs=null"), *overrides]
    code, _, errors = call("train", *recipe, "--out", str(tmp_path / "run"))
    assert code == 2
    assert said in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    folder = save_with_tokenizer("gpt2", tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([f"{digit}," for digit in range(10)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"has token 30., and the model knows 300; save the model's own"):
        build_codec(TASK, Pretrained(name_or_path=str(folder)).vocabulary())


def with_tokens(folder, *tokens):
    """A model and a tokenizer that has a few more tokens."""
    save_with_tokenizer("gpt2", folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(list(tokens))
    tokenizer.save_pretrained(folder)
    return save("gpt2", folder, len(tokenizer), 256)


@pytest.mark.parametrize("token", ["1,", "|1", "9|2", "/4"])
def test_a_mask_token_of_which_problems_are_made_is_refused(token, tmp_path, call):
    folder = with_tokens(tmp_path / "model", token)
    recipe = ["paper_gpt_mini", *own("gpt2", *SIZES, "epochs=null", f"model.name_or_path={folder}")]
    code, _, errors = call("train", *recipe, f"model.mask_token={token}", "--out", tmp_path / "run")
    assert (code, errors.count("\n")) == (2, 1)
    assert f"model.mask_token: {token} may stand in problems" in errors
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_that_joins_one_rare_answer_with_its_prompt_is_refused_before_training(tmp_path, call):
    folder = with_tokens(tmp_path / "model", "=119")
    recipe = ["paper_gpt_mini", *own("gpt2", *SIZES, "epochs=null", f"model.name_or_path={folder}")]
    code, _, errors = call("train", *recipe, "--out", tmp_path / "run")
    assert (code, errors.count("\n")) == (2, 1)
    assert "joins the end of a prompt with its answer in" in errors
    assert not (tmp_path / "run").exists()


def test_a_model_that_reads_other_symbols_is_refused_and_takes_these_beside_its_own(tmp_path):
    """Whatever the first problem holds: the smaller task's tokenizer may know all that stands in it."""
    known = PathStar(degree=2, path_length=3, num_nodes=119)
    folder = save_with_symbols(known, tmp_path)
    with pytest.raises(UserError, match=r"reads some symbols alone, .*; use model.encoding=symbol, which"):
        build_codec(TASK, Pretrained(name_or_path=folder).vocabulary())
    codec = build_codec(TASK, Pretrained(name_or_path=folder, encoding="symbol").vocabulary())
    assert codec.vocab_size == len(known.alphabet) + 1 + len(TASK.alphabet) + 1
