"""Exported runs: what transformers loads says what the run said, and the card's code decodes as we do."""

import json
import os
import re
import shutil
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.pretrained import CAUSAL, VOCAB, saved, saved_with_tokenizer
from tests.runs import tiny_run, train, unchecked
from unforced.cli.main import main
from unforced.data.codec import SymbolCodec
from unforced.data.tokenizer import symbol_tokenizer
from unforced.decoding.autoregressive import Autoregressive
from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.experiment import load_run
from unforced.exported import load_exported
from unforced.models.gpt import GPT
from unforced.models.mamba import Mamba
from unforced.models.older_transformers import OLDEST_VERSION, config_for_both, tokenizer_for_both
from unforced.models.pretrained import Pretrained
from unforced.registry import DECODERS, OBJECTIVES, TASKS
from unforced.reporting.card import Card, is_generate
from unforced.tasks.addition import Addition
from unforced.tasks.base import in_order
from unforced.tasks.branching_path import BranchingPath
from unforced.tasks.path_star import PathStar
from unforced.training.source import split_problems

STAR = ["task.path_length=3", "task.num_nodes=12"]
TREE = ["task=branching_path", "task.num_nodes=20"]
SUMS = ["task=addition", "task.num_digits=3"]
GPT_ = ["model.layers=2", "model.width=16", "model.heads=2", "model.init_std=0.5"]
STEPS = [
    "num_train=64",
    "batch_size=16",
    "max_steps=3",
    "epochs=null",
    "learning_rate=1e-2",
    "warmup_steps=0",
]
STEPS += ["evaluate_every=3", "num_evaluate=20", "num_test=40", "precision=fp32"]
OWN = {
    "learned": ["model.positions=learned", "model.tie_embeddings=true", *GPT_, *STAR],
    "rotary": ["model.positions=rotary", "model.tie_embeddings=false", *GPT_, *TREE, "order=reversed"],
    "mamba": ["model=mamba", "model.layers=2", "model.width=16", "model.tie_embeddings=false", *SUMS],
}
PRETRAINED = {
    f"pretrained_{family}": [
        "model=pretrained",
        "model.encoding=symbol",
        f"model.name_or_path={family}",
        *STAR,
    ]
    for family in CAUSAL
}
RUNS = {name: [*settings, "objective=next_token"] for name, settings in (OWN | PRETRAINED).items()}
RUNS |= {
    f"{name}_{objective}": [*OWN[name], f"objective={objective}"]
    for name, objective in zip(["rotary", "learned"] * 9, OBJECTIVES.names(), strict=False)
}
RUNS["rotary_insertion"].append("seed=1")  # whose model inserts more than one token
RUNS["mamba_teacherless"] = [*OWN["mamba"], "objective=teacherless", "order=reversed"]
RUNS["pretrained_gpt2_teacherless"] = [*PRETRAINED["pretrained_gpt2"], "objective=teacherless"]


def cli(*arguments):
    with unchecked(), pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    assert exit_.value.code == 0


@cache
def exported(name):
    """Train a run for three steps and export it; return both folders."""
    out = Path(mkdtemp(prefix="unforced-export-"))
    family = re.compile("(?<=name_or_path=).*")
    settings = [family.sub(lambda found: saved(found[0]), setting) for setting in RUNS[name]]
    cli("train", "paper_gpt_mini", *settings, *STEPS, "--out", out / "run")
    cli("export", out / "run", "--to", out / "hub" / "model")
    return out / "run", out / "hub" / "model"


def both(name):
    """Our model of an exported run, and that of transformers."""
    run_dir, folder = exported(name)
    return load_run(run_dir), AutoModelForCausalLM.from_pretrained(folder).eval()


@pytest.mark.parametrize("name", RUNS)
def test_transformers_computes_the_same_logits(name):
    ours, theirs = both(name)
    problems = split_problems(ours.run, "test", 8)
    evaluator = Evaluator.of(ours.run, ours.train_module)
    batch = evaluator.encode(problems)
    tokens = torch.cat([batch.prompt, batch.answer[:, :-1]], dim=1)
    with evaluator.inference():
        expected = ours.train_module.model.logits(ours.train_module.model.hidden(tokens))
        torch.testing.assert_close(theirs(tokens).logits, expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.1


def decoded(folder, monkeypatch):
    """What the code in the card of a folder leaves behind."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    monkeypatch.chdir(folder)
    found = {}
    exec(code, found)
    return found


@pytest.mark.parametrize("name", RUNS)
def test_the_code_in_the_card_decodes_as_the_run_does(name, monkeypatch, capsys):
    run_dir, folder = exported(name)
    found = decoded(folder, monkeypatch)
    loaded = load_run(run_dir)
    run, evaluator = loaded.run, Evaluator.of(loaded.run, loaded.train_module)
    problems = split_problems(run, "test", len(found["prompts"]))
    assert found["prompts"] == run.task.text.prompts(problems)
    with evaluator.inference():
        batch = evaluator.encode(problems)
        expected = evaluator.decoder.decode(evaluator.model, evaluator.heads, batch.prompts)
    if is_generate(run.decoding):
        assert [answer.tolist() for answer in found["answers"]] == expected.tolist()
    else:
        assert found["model"].tokens(found["prompts"]).tolist() == expected.tolist()
    assert len(expected.unique()) > 1
    said = json.loads(capsys.readouterr().out.splitlines()[-1].replace("'", '"'))
    symbols = in_order(run.task.text.read_answers(said), run.order)
    ours = answers(evaluator, problems, evaluator.free)
    whole = ((ours >= 0) & (ours < run.task.answer_symbols)).all(axis=1)
    assert symbols[whole].tolist() == ours[whole].tolist()
    assert run.task.score(problems, symbols).kind.tolist() == run.task.score(problems, ours).kind.tolist()


def test_no_token_ends_an_answer_early(tmp_path, monkeypatch):
    """Also where the model that was fine-tuned has one that does."""
    folder = exported("pretrained_llama")[1]
    expected = torch.stack(decoded(folder, monkeypatch)["answers"])
    shutil.copytree(folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | {"eos_token_id": int(expected[0, 0])}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    assert torch.equal(torch.stack(decoded(tmp_path / "model", monkeypatch)["answers"]), expected)


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_every_kind_of_gpt_has_its_like_(positions, tied, activation):
    config = GPT(
        layers=2, width=24, heads=3, positions=positions, tie_embeddings=tied, activation=activation,
        rotary_base=50.0, attention="math",
    )  # fmt: skip
    model = scrambled(config.build(19, 12))
    assert_same_logits(model)
    assert model.to_transformers().config.tie_word_embeddings is tied


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_a_mamba_of_any_shape_has_its_like(tied):
    assert_same_logits(
        scrambled(
            Mamba(layers=2, width=16, d_state=5, d_conv=3, expand=3, dt_rank=2, tie_embeddings=tied).build(
                19, 12
            )
        )
    )


def scrambled(model):
    """A model with every parameter away from zero, one and any symmetry."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return model.eval()


def assert_same_logits(model):
    tokens = torch.randint(19, (4, 12), generator=torch.Generator().manual_seed(1))
    network = model.to_transformers().eval()
    with torch.no_grad():
        expected = model.logits(model.hidden(tokens))
        torch.testing.assert_close(network(tokens).logits, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(network(tokens[:, :7]).logits, expected[:, :7], rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.3


TASKS_ = [
    PathStar(degree=3, path_length=4, num_nodes=120),
    BranchingPath(num_nodes=30),
    Addition(num_digits=3),
    Addition(num_digits=2, base=2),
]
OTHERS = [TASKS.get(name)() for name in TASKS.names() if name not in {task.name for task in TASKS_}]
TASKS_ += [task for task in OTHERS if task.ready and not task.varied]  # test_own_tasks.py exports the others


@pytest.mark.parametrize("task", TASKS_, ids=str)
@pytest.mark.parametrize("first", [0, VOCAB])
def test_the_tokenizer_reads_and_writes_what_the_codec_and_the_task_do(task, first, tmp_path):
    codec = SymbolCodec.of(task, first)
    symbol_tokenizer(task, first, 500).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    problems = task.sample(np.random.default_rng(0), 50)
    assert len(tokenizer) == codec.vocab_size
    assert tokenizer.mask_token_id == codec.mask_token
    prompts = tokenizer(task.text.prompts(problems)).input_ids
    assert prompts == [(row[row >= 0] + first).tolist() for row in task.prompts(problems)]
    assert set(tokenizer([task.alphabet[0]])) == {"input_ids", "attention_mask"}
    gap = " " if task.text.separator == " " else ""  # is as good as none, around signs of a prompt
    for order in ("forward", "reversed"):
        true = in_order(task.answers(problems), order)
        answers = codec.ids(true).tolist()
        lines = tokenizer.batch_decode(
            [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        )
        assert [line.replace(gap, "") for line in lines] == [
            line.replace(gap, "") for line in task.lines(problems, order)
        ]
        written = tokenizer.batch_decode(answers)
        assert task.text.read_answers(written).tolist() == true.tolist()


def test_what_is_no_symbol_is_refused_by_the_tokenizer_and_kept_in_its_place_by_the_decoder():
    task = TASKS_[0]
    tokenizer = symbol_tokenizer(task, VOCAB, 500)
    for text in ("1,120", "hello"):
        with pytest.raises(Exception, match="WordLevel"):
            tokenizer(text)
    tokens = torch.tensor([[VOCAB + 1, 4, VOCAB + 2, VOCAB + 3]])
    written = tokenizer.batch_decode(tokens)
    assert written == ["1,<4>,2,3"]
    assert task.text.read_answers(written).tolist() == SymbolCodec.of(task, VOCAB).symbols(tokens).tolist()


def test_a_mask_token_in_a_text_is_one_token():
    tokenizer = symbol_tokenizer(TASKS_[0], 0, 500)
    assert tokenizer("1,9=$$").input_ids == [1, 9, 121, 123, 123]


@pytest.mark.parametrize("name", ["learned", "rotary", "mamba", "pretrained_llama"])
def test_an_exported_model_goes_back_in(name, tmp_path):
    run_dir, folder = exported(name)
    assert load_run(run_dir).step == 3
    own = [setting for setting in RUNS[name] if not setting.startswith("model")]
    again = [
        "model=pretrained",
        "model.encoding=symbol",
        f"model.name_or_path={folder}",
        *own,
        *STEPS,
        "max_steps=1",
    ]
    cli("train", "paper_gpt_mini", *again, "--out", tmp_path / "again")
    assert json.loads((tmp_path / "again" / "result.json").read_text())["steps"] == 1


def test_the_folder_and_its_card():
    run_dir, folder = exported("rotary")
    result = json.loads((run_dir / "result.json").read_text())
    card = (folder / "README.md").read_text()
    assert (folder / "unforced.json").read_bytes() == (run_dir / "config.json").read_bytes()
    cli("show", folder / "unforced.json")
    assert list(load_file(folder / "model.safetensors"))
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1
    for said in ("GPTNeoXForCausalLM", "`branching_path`", "`next_token`", "goal first", "`0.01`"):
        assert said in card
    exact = result["test.free.exact"]
    shown = f"{100 * exact['value']:.1f}% [{100 * exact['low']:.1f}, {100 * exact['high']:.1f}]"
    (row,) = re.findall(r"^\| exact .*$", card, flags=re.MULTILINE)
    assert row.endswith(f"{shown} |")
    generation = json.loads((folder / "generation_config.json").read_text())
    assert (generation["do_sample"], generation["max_new_tokens"]) == (False, 5)


@pytest.fixture
def headed():
    """An objective with a head, and a decoder that decodes by it."""
    with OBJECTIVES.holding(headed="tests.parts:Headed"), DECODERS.holding(from_head="tests.parts:FromHead"):
        yield


@pytest.mark.parametrize(
    "twin", [[], ["objective.twin=true", "model.tie_embeddings=true"]], ids=["head", "tied_twin"]
)
def test_heads_go_with_the_model_and_the_card_says_what_needs_them(tmp_path, monkeypatch, headed, twin):
    train(tiny_run("objective=headed", "max_steps=3", *twin), tmp_path / "run")
    cli("export", tmp_path / "run", "--to", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "in `heads.safetensors`: decoding needs them." in card
    assert "The decoder `from_head` needs the trained heads: transformers alone cannot decode." in card
    found, loaded = decoded(tmp_path / "out", monkeypatch), load_run(tmp_path / "run")
    evaluator = Evaluator.of(loaded.run, loaded.train_module)
    said = answers(evaluator, split_problems(loaded.run, "test", 2), evaluator.free)
    assert loaded.run.task.text.read_answers(found["answers"]).tolist() == said.tolist()


def test_a_sampled_answer_is_that_of_the_run(tmp_path):
    run = tiny_run("max_steps=3", "decoder.temperature=1", "model.init_std=1")
    train(run, tmp_path / "run")
    cli("export", tmp_path / "run", "--to", tmp_path / "out")
    assert "its noise is another" in (tmp_path / "out" / "README.md").read_text()
    generation = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert "do_sample" not in generation
    model = load_exported(tmp_path / "out")
    loaded = load_run(tmp_path / "run")
    evaluator, problems = Evaluator.of(run, loaded.train_module), split_problems(run, "test", 20)
    said = model.tokens(run.task.text.prompts(problems))
    with evaluator.inference():
        prompts = evaluator.encode(problems).prompts
        greedy, drawn = (
            decoder.decode(evaluator.model, evaluator.heads, prompts)
            for decoder in (Autoregressive(), evaluator.decoder)
        )
    assert torch.equal(said, drawn)
    assert not torch.equal(said, greedy)


def test_what_is_not_exported_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"has no decoding\.json: `unforced export"):
        load_exported(tmp_path)


def test_a_card_tells_of_parameters_that_it_lacks():
    run = tiny_run()
    card = Card(run, "GPT2LMHeadModel", 1000, 0, 7, [("1,2/1,2=", "1,2")], "", None)
    assert "heads.safetensors" not in card.text()
    text = replace(card, head_parameters=1234).text()
    assert "The objective trained 1,234 more, in `heads.safetensors`: decoding does not need them." in text


def test_a_card_names_a_base_on_the_hub_alone(tmp_path):
    card = Card(tiny_run(), "GPT2LMHeadModel", 1000, 0, 7, [("1,2/1,2=", "1,2")], "", None)
    for name, line in {"owner/name": ["base_model: owner/name"], str(tmp_path): []}.items():
        model = Pretrained(name_or_path=name, encoding="symbol")
        head = replace(card, run=card.run.model_copy(update={"model": model}))._metadata().splitlines()
        assert [each for each in head if "base_model" in each] == line
    assert "base_model" not in card.text()


def test_what_was_measured_in_bf16_is_decoded_in_bf16(tmp_path, call, monkeypatch):
    recipe = [*RUNS["learned"], *STEPS, "precision=bf16-mixed"]
    assert call("train", "paper_gpt_mini", *recipe, "--out", tmp_path / "run")[0] == 0
    assert call("export", tmp_path / "run", "--to", tmp_path / "out")[0] == 0
    assert "Matrix products were of bfloat16" in (tmp_path / "out" / "README.md").read_text()
    dtypes = []
    monkeypatch.setattr(torch.nn.Module, "__call__", noting(dtypes, torch.nn.Module.__call__))
    answers_ = decoded(tmp_path / "out", monkeypatch)["answers"]
    assert set(dtypes) == {torch.bfloat16}
    assert len(answers_[0]) == 3
    assert "Matrix products were of float32" in (exported("learned")[1] / "README.md").read_text()


def noting(dtypes, call):
    """Call a module, and note the dtype that its device multiplies matrices in."""

    def noted(module, *arguments, **settings):
        in_half = torch.is_autocast_enabled("cpu")
        dtypes.append(torch.get_autocast_dtype("cpu") if in_half else torch.float32)
        return call(module, *arguments, **settings)

    return noted


def test_what_was_exported_is_printed(tmp_path, call):
    run_dir, folder = exported("learned")
    code, printed, _ = call("export", run_dir, "--to", tmp_path / "a", "--json")
    facts = json.loads(printed)
    assert code == 0
    assert facts["architecture"] == "GPT2LMHeadModel"
    assert facts["folder"] == str(tmp_path / "a")
    assert facts["files"] == sorted(file.name for file in (tmp_path / "a").iterdir())
    (tmp_path / "empty").mkdir()
    code, printed, _ = call("export", run_dir, "--to", tmp_path / "empty")
    assert code == 0
    assert printed.startswith(f"{tmp_path / 'empty'}: GPT2LMHeadModel after 3 steps")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
        assert (tmp_path / "a" / name).read_bytes() == (folder / name).read_bytes()


def copied(tmp_path, name, *absent):
    """The folder of a run, without some of its files."""
    shutil.copytree(exported(name)[0], tmp_path / "run", ignore=shutil.ignore_patterns(*absent))
    return tmp_path / "run"


def test_a_run_that_is_not_finished_is_exported_without_results(tmp_path, call):
    run_dir = copied(tmp_path, "learned", "result.json")
    assert call("export", run_dir, "--to", tmp_path / "out")[0] == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "There are none: these are the weights after 3 of 3 steps" in card
    assert "Wilson" not in card


def test_results_of_other_weights_are_not_shown(tmp_path, call):
    run_dir = copied(tmp_path, "learned")
    result = json.loads((run_dir / "result.json").read_text()) | {"steps": 5}
    (run_dir / "result.json").write_text(json.dumps(result))
    assert call("export", run_dir, "--to", tmp_path / "out")[0] == 0
    assert "There are none" in (tmp_path / "out" / "README.md").read_text()


def not_empty(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")


def a_file(tmp_path):
    (tmp_path / "out").write_text("mine")


@pytest.mark.parametrize("make", [not_empty, a_file])
def test_a_folder_that_holds_something_is_left_alone(make, tmp_path, call):
    make(tmp_path)
    code, _, errors = call("export", exported("learned")[0], "--to", tmp_path / "out")
    assert code == 2
    assert "exists and is not an empty folder; nothing was written, choose another --to" in errors
    assert len(errors.splitlines()) == 1
    assert [file.read_text() for file in tmp_path.rglob("*") if file.is_file()] == ["mine"]


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(tmp_path, call):
    shifted = ["model.token_shift=true", *GPT_, *STAR, *STEPS]
    assert call("train", "paper_gpt_mini", *shifted, "--out", tmp_path / "shifted")[0] == 0
    for run_dir, reason in {
        tmp_path / "shifted": "model.token_shift: no network of transformers",
        tmp_path / "absent": "no such run folder",
        exported("learned")[1].parent: "is not a run folder",
        copied(tmp_path, "learned", "step-*"): "has no checkpoint yet",
    }.items():
        code, _, errors = call("export", run_dir, "--to", tmp_path / "out" / "model")
        assert code == 2
        assert reason in errors
        assert len(errors.splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_without_transformers_one_line_says_what_to_install(tmp_path, call, monkeypatch):
    run_dir = exported("learned")[0]
    monkeypatch.setitem(sys.modules, "transformers", None)
    code, _, errors = call("export", run_dir, "--to", tmp_path / "out")
    assert code == 2
    assert errors == "unforced: unforced export needs transformers: pip install 'unforced[pretrained]'\n"


def test_a_failure_while_writing_leaves_nothing(tmp_path, call, monkeypatch):
    def full(*arguments, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unforced.exporting.shutil.copyfile", full)
    code, _, errors = call("export", exported("learned")[0], "--to", tmp_path / "out")
    assert code == 2
    assert "No space left on device; nothing was written" in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", [".", "disk"])
def test_a_folder_that_exists_stays_the_same_one(tmp_path, call, monkeypatch, to):
    (tmp_path / "disk" / "lost+found").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here" if to == "." else tmp_path)
    before = os.stat(to).st_ino
    code, _, errors = call("export", exported("learned")[0], "--to", to)
    assert code == 0, errors
    assert os.stat(to).st_ino == before
    assert (Path.cwd() / to / "model.safetensors").exists()
    assert not [file for file in (Path.cwd() / to).iterdir() if file.name.startswith(".")]


def test_a_failure_while_moving_leaves_an_existing_folder_empty(tmp_path, call, monkeypatch):
    (tmp_path / "out").mkdir()
    replace_file = Path.replace

    def full(file, target):
        if file.name == "tokenizer.json":
            raise OSError(28, "No space left on device")
        return replace_file(file, target)

    monkeypatch.setattr(Path, "replace", full)
    code, _, errors = call("export", exported("learned")[0], "--to", tmp_path / "out")
    assert (code, "nothing was written" in errors) == (2, True)
    assert [*tmp_path.rglob("*")] == [tmp_path / "out"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_the_parent_of_a_folder_that_exists_need_not_be_writable(tmp_path, call):
    (tmp_path / "parent" / "out").mkdir(parents=True)
    (tmp_path / "parent").chmod(0o555)
    assert call("export", exported("learned")[0], "--to", tmp_path / "parent" / "out")[0] == 0


def rope_of(tmp_path, **parameters):
    """The config of an exported run whose base, a Llama, has these rotary parameters."""
    folder = saved_with_tokenizer("llama")
    base = shutil.copytree(folder, tmp_path / "base")
    config = json.loads((base / "config.json").read_text()) | {"rope_parameters": parameters}
    (base / "config.json").write_text(json.dumps(config))
    run = tiny_run("model=pretrained", f"model.name_or_path={base}", "max_steps=1", "num_test=4")
    train(run, tmp_path / "run")
    cli("export", tmp_path / "run", "--to", tmp_path / "to")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "to").config
    assert parameters.items() <= again.rope_parameters.items()
    return json.loads((tmp_path / "to" / "config.json").read_text())


def test_transformers_4_finds_what_rotary_positions_depend_on(tmp_path):
    """By its keys: version 4.57 was seen to compute the same logits from such folders (LAB_NOTES.md)."""
    neox = json.loads((exported("rotary")[1] / "config.json").read_text())
    assert (neox["rotary_emb_base"], neox["rotary_pct"]) == (10000.0, 1.0)
    assert "rope_scaling" not in neox
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaling["original_max_position_embeddings"] = 32
    llama = rope_of(tmp_path, rope_theta=5e5, **scaling)
    assert (llama["rope_theta"], llama["rope_scaling"]) == (5e5, scaling)
    assert llama["torch_dtype"] == llama["dtype"] == "float32"
    layers = {"full_attention": {"rope_theta": 1e6, "rope_type": "default"}}
    layers["sliding_attention"] = {"rope_theta": 1e4, "rope_type": "default"}
    both = config_for_both({"rope_parameters": layers})
    assert both == {"rope_theta": 1e6, "rope_local_base_freq": 1e4, "rope_parameters": layers}


@pytest.mark.parametrize("name", ["learned", "mamba", "pretrained_llama"])
def test_transformers_4_knows_the_class_of_the_tokenizer(name):
    folder = exported(name)[1]
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert config["model_input_names"] == ["input_ids", "attention_mask"]  # its own has token_type_ids, too
    assert f"# transformers {OLDEST_VERSION} or newer" in (folder / "README.md").read_text()


def test_transformers_4_finds_further_special_tokens(tmp_path):
    names = ["stop", "register"]
    symbol_tokenizer(PathStar(degree=2, path_length=3, num_nodes=12), 0, 50, names).save_pretrained(tmp_path)
    config = tokenizer_for_both(json.loads((tmp_path / "tokenizer_config.json").read_text()))
    assert config["additional_special_tokens"] == ["<|stop|>", "<|register|>"]
    assert "extra_special_tokens" not in config  # which is a mapping there
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("<|register|>").input_ids == [17]
    assert again.decode([17, 1], skip_special_tokens=True) == "1"
