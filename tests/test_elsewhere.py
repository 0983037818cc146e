"""Models that other loops fine-tuned, diagnosed from their folders: in the format of their training."""

import json
import re
import shutil

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import unforced as uf
from tests.pretrained import save, saved, saved_with_tokenizer
from tests.tokens import byte_level, joining, letters, sentence_piece
from unforced.config import build_task
from unforced.data.files import write_problems
from unforced.data.template import BARE, Template
from unforced.elsewhere import as_recorded
from unforced.errors import UserError
from unforced.tasks.own_data import OwnData
from unforced.tasks.path_star import PathStar

TASK = PathStar(degree=2, path_length=3, num_nodes=8)
STAR = ["--task", "path_star", "task.degree=2", "task.path_length=3", "num_nodes=8"]
FEW = ["--confidence", "0.6", "--count", "300"]
CHAT = (
    "{% for turn in messages %}<{{ turn.role }}>{{ turn.content }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
KNOWN = uf.problems(TASK, count=6)
LINES = [*TASK.lines(uf.problems(TASK, count=99).arrays()), "Q: A: "]


@pytest.fixture(scope="module")
def chatting(tmp_path_factory):
    """The folder of a random GPT-2 that reads characters, in the turns of a chat."""
    folder, tokenizer = tmp_path_factory.mktemp("chatting"), letters(LINES)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<user>", "<assistant>"]})
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    save("gpt2", folder, len(tokenizer))
    return folder


def by_hand(folder, problems):
    """The probability of the true first hop and its comma in a chat, by transformers alone: a mean."""
    network, tokenizer = GPT2LMHeadModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = []
    for each in problems:
        start, hop = each.answer.split(",")[:2]
        text = f"<user>{each.prompt}<eos>\n<assistant>{start},{hop},"
        tokens = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            said = network(tokens).logits[0].softmax(-1)
        found.append(float(said[-3, tokens[0, -2]] * said[-2, tokens[0, -1]]))
    return sum(found) / len(found)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What `unforced data export` writes: held-out problems, and those that the model knows."""
    folder = tmp_path_factory.mktemp("files")
    write_problems(
        folder / "held_out.parquet", TASK, uf.problems(TASK, "test", count=300).arrays(), "forward"
    )
    write_problems(folder / "known.parquet", TASK, KNOWN.arrays(), "forward")
    write_problems(folder / "held_out.jsonl", TASK, uf.problems(TASK, "test", count=300).arrays(), "forward")
    return folder


def test_a_folder_is_diagnosed_in_the_format_of_its_training(chatting, files, call, tmp_path):
    given = "--data", files / "held_out.parquet", *FEW
    known = "--train", files / "known.parquet"
    asked = ["diagnose", "--model", chatting, *given, *known]
    code, output, errors = call(*asked, "--chat", "--out", tmp_path / "it")
    assert (code, errors) == (0, "")
    assert r"asked as '<user>{prompt}<eos>\n<assistant>{answer}<eos>\n')" in output.splitlines()[0]
    found = json.loads((tmp_path / "it").read_text())
    wanted = pytest.approx(by_hand(chatting, uf.problems(TASK, "test", count=300)), rel=1e-4)
    assert found["probability"]["token_1"]["true"] == wanted
    assert found["problems"] == {"train": len(KNOWN), "test": 300}
    assert found["asked"]["train"].endswith("known.parquet")
    same = ["--template", r"<user>{prompt}<eos>\n<assistant>{answer}<eos>"]
    for template, right in ((same, True), ([], False)):
        other = json.loads(call(*asked, *template, "--json")[1])
        assert (other["probability"]["token_1"]["true"] == wanted) == right


def test_where_training_problems_are_unknown_it_says_so(chatting, files, call):
    _, output, _ = call(
        "diagnose",
        "--model",
        chatting,
        "--chat",
        "--data",
        files / "held_out.jsonl",
        *STAR[:2],
        *FEW,
        "--json",
    )
    found = json.loads(output)
    assert found["verdict"]["name"] == "inconclusive"
    assert "--train FILE" in found["verdict"]["settle"]
    for unknown in (found["exact"]["train"], found["indecipherable_token"]["token_1"]["gap"]):
        assert unknown == {"does_not_apply": "no training problems were given"}


def test_own_data_come_from_one_file_or_two(chatting, tmp_path, call):
    """Prompts with a template lose the line break that else parts them from their answers."""
    rows = [{"prompt": f"{i // 8},{i % 8}", "answer": str(i % 7)} for i in range(64)]
    for name, part in {"train": rows[:30], "test": rows[30:]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in part))
    asked = ["diagnose", "--model", chatting, "--data", tmp_path / "test.jsonl", "--confidence", "0.6"]
    both = [*asked, "--train", tmp_path / "train.jsonl", "--chat", "--json"]
    found = json.loads(call(*both)[1])
    assert found["problems"] == {"train": 30, "test": 34}
    assert found["asked"]["template"] == "<user>{prompt}<eos>\n<assistant>{answer}<eos>\n"
    alone = json.loads(call(*asked, "--json")[1])
    assert alone["problems"] == {"train": 0, "test": 34}
    assert alone["by_heart"] == {"does_not_apply": "no training problems were given"}
    code, _, errors = call(*asked, "--train", tmp_path / "test.jsonl")
    assert (code, "34 prompts are in both --train and --data" in errors) == (2, True)
    task = OwnData(path=str(tmp_path / "train.jsonl"), test_path=str(tmp_path / "test.jsonl"))
    some = task.listed("test").take(slice(0, 2))
    assert Template.parse("Q: {prompt} A: {answer}").prompts(task, some) == ["Q: 3,6 A: ", "Q: 3,7 A: "]
    assert Template.parse("{prompt}{answer}").prompts(task, some) == ["3,6", "3,7"]
    assert BARE.prompts(task, some) == ["3,6\n", "3,7\n"]


def recorded(folder, **said):
    """The folder with what ObjectiveTrainer writes."""
    tree = {"objective": {"name": "next_token"}, "special_tokens": {"mask": -1}, **said}
    (folder / "objective.json").write_text(json.dumps(tree))
    return folder


@pytest.fixture
def few(tmp_path):
    rows = [{"prompt": f"{i},{i}", "answer": str(i)} for i in range(6)]
    path = tmp_path / "few.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_own_data_are_asked_with_the_separator_of_training(few, chatting, tmp_path, call):
    """As it is recorded, or given; a template is taken as it is written."""
    folder = recorded(shutil.copytree(chatting, tmp_path / "model"), separator="=", closes=True)
    asked = ["diagnose", "--model", folder, "--data", few, "--confidence", "0.6"]
    given = {
        "{prompt}={answer}": [],
        "{prompt}{answer}": ["task.separator="],
        "{prompt};{answer}": ["--template", "{prompt};{answer}"],
    }
    for form, options in given.items():
        code, output, errors = call(*asked, *options, "--json")
        assert code == 0, errors
        assert json.loads(output)["asked"]["template"] == form
    task = {"path": str(few), "unseen": "keep"}
    for more, form in (({}, "="), ({"separator": ";"}, ";"), ({"separator": "\n"}, "\n")):
        built = as_recorded(build_task("own_data", {**task, **more}), str(folder))
        assert built.separator == form
    recorded(folder, separator="", closes=False)
    code, _, errors = call(*asked)
    assert (code, errors.count("\n")) == (2, 1)
    assert "no token closed answers in training" in errors


def test_a_tokenizer_without_the_text_around_answers_is_one_line(few, tmp_path, call):
    signs = ["<eos>", *"0123456789,="]
    words = Tokenizer(models.WordLevel({sign: number for number, sign in enumerate(signs)}))
    words.pre_tokenizer, words.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    save("gpt2", tmp_path / "model", len(signs))
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<eos>").save_pretrained(tmp_path / "model")
    asked = ["diagnose", "--model", tmp_path / "model", "--data", few, "--confidence", "0.6"]
    for options, message in (
        ([], r"task.separator: the tokenizer cannot read '\\n' between a prompt .* \(\S+few.jsonl:1\)"),
        (["--template", "{prompt} {answer}"], "--template: the tokenizer cannot read '{prompt} {answer}'"),
    ):
        code, _, errors = call(*asked, *options)
        assert (code, errors.count("\n")) == (2, 1)
        assert re.search(message, errors), errors
    with few.open("a") as more:
        more.write('{"prompt": "7,x", "answer": "7"}\n')
    assert re.search(r"few.jsonl:7: --model: the tokenizer of", call(*asked, "task.separator==")[2])


def test_a_template_that_a_tokenizer_joins_with_answers_is_refused():
    tokenizer = joining([f"A:{i}" for i in range(9)] * 9)
    assert str(Template.parse("{prompt} A: {answer}").fitted(letters(LINES), [("1", "2")]).lead) == ""
    with pytest.raises(UserError, match=r"template: the tokenizer joins .* in '1A:5'; give a"):
        Template.parse("{prompt}A:{answer}").fitted(tokenizer, [("1", "5")])


@pytest.mark.parametrize("split", ["test", "of mine", None])
def test_all_rows_of_own_data_are_held_out_whatever_split_they_name(split, chatting, tmp_path, call):
    rows = [{"prompt": f"{i},{i}", "answer": str(i), "split": split} for i in range(6)]
    (tmp_path / "few.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    asked = ["diagnose", "--model", chatting, "--data", tmp_path / "few.jsonl", "--confidence", "0.6"]
    assert json.loads(call(*asked, "--json")[1])["problems"] == {"train": 0, "test": 6}
    assert "use --count 6, all there are" in call(*asked, "--count", "2")[2]


def test_an_objective_with_heads_is_asked_as_the_one_without(chatting, files, call, tmp_path):
    given = ["--data", files / "held_out.parquet", *FEW, "--chat"]
    plain = json.loads(call("diagnose", "--model", chatting, *given, "--json")[1])
    title = call("diagnose", "--model", chatting, *given, "--objective", "multi_token")[1].splitlines()[0]
    assert "trained on multi_token, without its heads: diagnosed as next_token" in title
    folder = shutil.copytree(chatting, tmp_path / "tuned")
    kept = {"objective": {"name": "mixture"}, "special_tokens": {"mask": -1}}
    (folder / "objective.json").write_text(json.dumps(kept))
    found = json.loads(call("diagnose", "--model", folder, *given, "--json")[1])
    assert found["asked"]["trained_on"]["name"] == "mixture"
    assert found["asked"]["objective"] == plain["asked"]["objective"]
    assert found["probability"] == plain["probability"]
    (folder / "objective.json").write_text(json.dumps({**kept, "objective": {"name": "teacherless"}}))
    assert "hides answer tokens behind a mask token" in call("diagnose", "--model", folder, *given)[2]


def test_adapters_are_asked_as_the_model_that_they_are_merged_into(chatting, tmp_path, call):
    peft = pytest.importorskip("peft")
    base = GPT2LMHeadModel.from_pretrained(chatting)
    config = peft.LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False, fan_in_fan_out=True)
    adapted = peft.get_peft_model(base, config)
    adapted.base_model.model.config._name_or_path = str(chatting)
    adapted.peft_config["default"].base_model_name_or_path = str(chatting)
    adapted.save_pretrained(tmp_path / "adapters")
    options = {"task": TASK, "chat": True, "count": 300, "confidence": 0.6}
    tokenizer = AutoTokenizer.from_pretrained(chatting)
    wanted = uf.diagnose(adapted, tokenizer, **options).to_dict()
    found = uf.diagnose(tmp_path / "adapters", **options).to_dict()
    plain = uf.diagnose(chatting, **options).to_dict()
    given, other, before = (each["probability"]["token_1"]["true"] for each in (found, wanted, plain))
    assert given == pytest.approx(other, rel=1e-4)
    assert given != pytest.approx(before, rel=1e-3)
    assert isinstance(adapted.base_model.model.transformer.h[0].attn.c_attn, peft.tuners.lora.LoraLayer)


@pytest.mark.parametrize("kind", [byte_level, letters, sentence_piece])
def test_blanks_that_a_tokenizer_joins_with_the_answer_are_part_of_it(kind):
    tokenizer, pairs = kind(LINES), [("1,2|1,3/1,2=", "1,2")]
    template = Template.parse("Q: {prompt} A: {answer}").fitted(tokenizer, pairs)
    assert template.between + template.lead == " A: "
    head = tokenizer(template.prompt(pairs[0][0]), add_special_tokens=False).input_ids
    whole = tokenizer("Q: 1,2|1,3/1,2= A: 1,2", add_special_tokens=False).input_ids
    assert whole[: len(head)] == head


def test_what_follows_the_answer_ends_it():
    tokenizer, pairs = letters(LINES), [("1,2|1,3/1,2=", "1,2"), ("1,3|1,2/1,3=", "1,3")]
    assert Template.parse("{prompt}{answer}").end(tokenizer, pairs) is None
    assert Template.parse(r"{prompt}{answer}\n").end(tokenizer, pairs) == tokenizer("\n").input_ids[0]
    with pytest.raises(UserError, match="answers have its first token"):
        Template.parse("{prompt}{answer},").end(tokenizer, pairs)
    with pytest.raises(UserError, match="has no chat template"):
        uf.diagnose(
            GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=2, n_head=1)), tokenizer, task=TASK, chat=True
        )


def short(folder):
    tokenizer = letters(LINES)
    tokenizer.save_pretrained(folder)
    return save("gpt2", folder, len(tokenizer), positions=16)


def joined(folder):
    tokenizer = joining(LINES)
    tokenizer.save_pretrained(folder)
    return save("gpt2", folder, len(tokenizer))


MISTAKES = {
    "there is no folder": (lambda folder: folder / "none", STAR),
    "(t5) encodes before it decodes; take a decoder-only model": (lambda folder: saved("t5"), STAR),
    "there is no tokenizer in /": (lambda folder: saved("gpt2"), STAR),
    "the network has only the tokens 0 to 10; give --first-symbol": (
        lambda folder: saved("gpt2"),
        ["--task", "crossing_lines", "--first-symbol", "0"],
    ),
    "the symbols of the task end in token 60, and the network has only the tokens 0 to 10; give --first": (
        lambda folder: saved("gpt2"),
        [*STAR, "--first-symbol", "50"],
    ),
    "joins the end of a prompt with its answer": (joined, STAR),
    "held_out.jsonl:1 has 20 in its prompt, which leaves no room": (short, ["--data", "FILES", *STAR[:2]]),
    "hides answer tokens behind a mask token": (
        lambda folder: saved_with_tokenizer("gpt2"),
        [*STAR, "--objective", "teacherless"],
    ),
    "with heads of its own": (lambda folder: saved_with_tokenizer("gpt2"), [*STAR, "objective=belief_state"]),
    "--template: 'Q {prompt}' must have": (
        lambda folder: saved_with_tokenizer("gpt2"),
        [*STAR, "--template", "Q {prompt}"],
    ),
    "objective: masked needs attention to later tokens": (
        lambda folder: saved_with_tokenizer("gpt2"),
        [*STAR, "--objective", "masked"],
    ),
    "--chat: the tokenizer of /": (lambda folder: joined(folder), [*STAR, "--chat"]),
    "--data: there is no none.jsonl": (lambda folder: folder, ["--data", "none.jsonl"]),
    "use --encoding symbol": (joined, STAR),
    "give a template in which they stay apart": (joined, [*STAR, "--template", r"{prompt}{answer}\n"]),
    "it does not say of what task it is; give --task": (lambda folder: folder, ["--data", "FILES"]),
    "say what to ask: --task and one of": (lambda folder: folder, []),
    "--task names path_star; give one of the two": (lambda folder: folder, [*STAR, "task=addition"]),
    "--train: it goes with --data": (lambda folder: folder, [*STAR, "--train", "FILES"]),
    "300 held-out problems are too few": (
        lambda folder: folder,
        ["--data", "FILES", *STAR[:2], "--confidence", "0.95"],
    ),
    "unknown order 'backward'": (lambda folder: folder, [*STAR, "--order", "backward"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_cannot_be_asked_is_one_line(mistake, files, call, tmp_path):
    model, options = MISTAKES[mistake]
    options = [files / "held_out.jsonl" if each == "FILES" else each for each in options]
    confidence = [] if "--confidence" in options else FEW
    code, output, errors = call("diagnose", "--model", model(tmp_path), *options, *confidence)
    assert (code, output) == (2, "")
    assert mistake in errors
    assert errors.count("\n") == 1


def test_options_of_models_elsewhere_are_not_for_runs(call):
    code, _, errors = call("diagnose", "runs/mine", "--task", "path_star")
    assert code == 2
    assert "--task: it is about a model that was trained elsewhere, which --model names" in errors
    assert call("diagnose")[0] == 2
