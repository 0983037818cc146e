"""Models of transformers asked in text, with tokenizers of their own; and the verb that does so."""

import itertools
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AddedToken, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GPT2LMHeadModel

from tests.pretrained import CAUSAL, save, save_with_symbols, save_with_tokenizer, saved, saved_with_tokenizer
from unforced.errors import UserError
from unforced.evaluation.prompting import Questions
from unforced.models.generation import Reader, Writer, first_line
from unforced.models.pretrained import Pretrained
from unforced.registry import TASKS
from unforced.tasks.base import in_order
from unforced.tasks.path_star import PathStar

TASK = PathStar(degree=2, path_length=3, num_nodes=12)
CPU = torch.device("cpu")
TEMPLATE = (
    "{% for turn in messages %}[{{ turn.role }}]{{ turn.content }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture(scope="module")
def questions():
    return Questions.draw(TASK, "forward", 0, 8, 1)


@pytest.fixture(scope="module", params=CAUSAL)
def folder(request):
    return saved_with_tokenizer(request.param)


def test_a_batch_answers_as_its_prompts_do_one_at_a_time(folder, questions):
    """In float32, on random weights: two tokens could tie for the likeliest; none does here."""
    reader = Reader.load(folder)
    writer = Writer(reader, 12, CPU)
    prompts = [*questions.prompts(), "1,2=", "a longer one: 1,2|3,4|5,6="]
    assert len({len(row) for row in reader.ids(prompts)}) > 2
    together = writer(prompts)
    assert together == [writer([prompt])[0] for prompt in prompts]
    assert together == writer(prompts)
    assert len(set(together)) > 1


@pytest.mark.parametrize("family", ["gpt2", "mamba", "rwkv"])
def test_prompts_are_read_together_where_that_changes_nothing(family, questions, monkeypatch):
    writer = Writer(Reader.load(saved_with_tokenizer(family)), 12, CPU)
    prompts = [prompt[7 * i :] for i, prompt in enumerate(questions.prompts())]
    alone = [writer([prompt])[0] for prompt in prompts]
    generate, sizes = writer.network.generate, []

    def counted(input_ids, **more):
        sizes.append(len(input_ids))
        return generate(input_ids=input_ids, **more)

    monkeypatch.setattr(writer.network, "generate", counted)
    assert writer(prompts) == alone
    assert len(set(alone)) > 1
    assert sizes == ([1] * len(prompts) if family == "rwkv" else [len(prompts)])


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox", "llama", "mamba"])
def test_what_prompts_begin_with_is_read_once_where_keys_and_values_are_kept(family, questions):
    writer = Writer(Reader.load(saved_with_tokenizer(family)), 12, CPU)
    prompts = [*questions.prompts(), f"{questions.prompts()[0]} 1,2"]
    alone = [writer([prompt])[0] for prompt in prompts]
    read = []
    writer.network.get_input_embeddings().register_forward_pre_hook(lambda _, ids: read.append(ids[0].shape))
    assert writer(prompts) == alone
    whole = max(map(len, writer.reader.ids(prompts)))
    if family == "mamba":
        assert read[0] == (len(prompts), whole)
    else:
        assert read[0][0] == 1
        assert read[1] == (len(prompts), whole - read[0][1])
        assert read[0][1] > whole / 2


def test_a_tokenizers_padding_that_the_model_does_not_know_is_not_read(tmp_path, questions):
    folder = save_with_tokenizer("gpt2", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    reader = Reader.load(folder)
    assert reader.tokenizer.pad_token_id == reader.config.vocab_size
    prompts = [*questions.prompts(), "1,2="]
    plain = Writer(Reader.load(saved_with_tokenizer("gpt2")), 12, CPU)
    assert Writer(reader, 12, CPU)(prompts) == plain(prompts)


def test_a_model_that_sees_later_tokens_is_one_line(call, tmp_path):
    code, output, errors = call("ask", *ask_for(save_with_tokenizer("bert", tmp_path)))
    assert (code, output) == (2, "")
    assert errors == (
        f"unforced: MODEL: {tmp_path} (bert) is a masked language model, which sees the tokens after the one "
        "it predicts; take a causal (decoder-only) model\n"
    )


def test_a_model_whose_weights_are_no_numbers_is_one_line(call, tmp_path):
    folder = save_with_tokenizer("gpt2", tmp_path)
    weights = {
        name: each.fill_(torch.nan) for name, each in load_file(tmp_path / "model.safetensors").items()
    }
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    code, _, errors = call("ask", *ask_for(folder))
    assert code == 2
    assert errors == (
        f"unforced: MODEL: {folder} gives logits that are no numbers; its weights are damaged, "
        "take another copy\n"
    )
    with pytest.raises(UserError, match="gives logits that are no numbers"):
        Pretrained(name_or_path=folder).build(301, 20)


@pytest.mark.parametrize("calls", [1, 3], ids=["at once", "later"])
def test_whatever_a_model_raises_is_one_line(call, monkeypatch, calls):
    forward, done = GPT2LMHeadModel.forward, []

    def failing(self, *arguments, **more):
        done.append(1)
        if len(done) >= calls:
            raise RuntimeError("shape '[1, 2, 3]' is invalid\nfor input of size 16")
        return forward(self, *arguments, **more)

    monkeypatch.setattr(GPT2LMHeadModel, "forward", failing)
    folder = saved_with_tokenizer("gpt2")
    code, output, errors = call("ask", *ask_for(folder))
    assert (code, output) == (2, "")
    assert errors == (
        f"unforced: MODEL: {folder} loads but does not run (RuntimeError: shape '[1, 2, 3]' is invalid for "
        "input of size 16); its config.json may not be that of its weights\n"
    )


def test_the_answer_is_the_likeliest_token_each_time(folder, questions):
    reader = Reader.load(folder)
    writer = Writer(reader, 6, CPU)
    prompt = questions.prompts()[0]
    ids = reader.ids([prompt])[0]
    start = len(ids)
    for _ in range(6):
        with torch.no_grad():
            ids.append(int(writer.network(torch.tensor([ids])).logits[0, -1].argmax()))
    said = list(itertools.takewhile(lambda token: token not in writer.ends, ids[start:]))
    assert writer([prompt])[0] == first_line(reader.text(said))


def test_what_a_model_says_of_sampling_is_not_followed(questions, tmp_path):
    folder = save_with_tokenizer("llama", tmp_path / "sampling")
    GenerationConfig(
        do_sample=True, temperature=9.0, repetition_penalty=5.0, eos_token_id=[0, 5]
    ).save_pretrained(folder)
    writer = Writer(Reader.load(folder), 12, CPU)
    plain = Writer(Reader.load(saved_with_tokenizer("llama")), 12, CPU)
    assert writer.ends == [0, 2, 5]  # 2: what a Llama's config says
    plain.ends = plain.network.generation_config.eos_token_id = writer.ends
    assert writer(questions.prompts()) == plain(questions.prompts())


def test_writing_ends_with_the_first_line_that_is_not_blank(questions, monkeypatch):
    reader = Reader.load(saved_with_tokenizer("gpt2"))
    writer = Writer(reader, 30, CPU)
    said = reader.tokenizer("\n 1,7,9\n1,4,2")["input_ids"]
    steps = []

    def forward(input_ids, **_):
        steps.append(input_ids.shape[1])
        logits = torch.zeros(*input_ids.shape, 300)
        logits[:, -1, said[min(len(steps), len(said)) - 1]] = 1
        return type("Output", (dict,), {"logits": logits})()

    monkeypatch.setattr(writer.network, "forward", forward)
    assert writer(["1,2="]) == ["\n 1,7,9"]
    assert len(steps) == len(reader.tokenizer("\n 1,7,9\n")["input_ids"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("1,7", "1,7"),
        ("1,7\n8", "1,7"),
        ("\n\n 1\n2", "\n\n 1"),
        ("\n", "\n"),
        ("1\n", "1"),
        ("```\n1\n```", "```\n1"),
        ("“1”\n2", "“1”"),
        ("$$\n", "$$\n"),
    ],
)
def test_the_first_line_is_cut(text, line):
    assert first_line(text) == line


@pytest.fixture
def chatting(tmp_path):
    folder = save_with_tokenizer("llama", tmp_path / "chat")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def test_a_chat_model_reads_turns(chatting, questions):
    reader = Reader.load(chatting, chat=True)
    text = reader.converse(questions.conversations())[0]
    prompt, answer = questions.shots[0]
    assert text.startswith(
        f"[user]{TASK.text.instruction('forward')}\n\n{prompt}<eos>[assistant]{answer}<eos>[user]"
    )
    assert text.endswith("<eos>[assistant]")
    assert reader.ids([text])[0].count(0) == 3


@pytest.fixture
def mistake(call, monkeypatch):
    """Call `ask` with a mistake, no weights loaded; return the one line that it prints."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def mistake(*arguments):
        with monkeypatch.context() as unloaded:
            unloaded.setattr("unforced.models.generation.load_network", None)
            code, output, errors = call("ask", *arguments)
        assert (code, output, errors.count("\n")) == (2, "", 1), errors
        return errors.removeprefix("unforced: ").rstrip("\n")

    return mistake


ASKING = ["X", "--task", "path_star"]
MISUSES = {
    ("X", "runs/mine", "--task", "path_star"): (
        "'runs/mine' is not a setting, as in task.degree=3; a run folder is measured by "
        "`unforced evaluate` or `unforced diagnose`, without a model"
    ),
    ("X",): f"say what to ask, with --task and one of {', '.join(TASKS.names())}",
    (): "Missing argument 'model'.",
    (*ASKING, "--split", "test"): "No such option: --split (Possible options: --plugin)",
    (*ASKING, "degre=3"): "task.degre: unknown key 'degre'; did you mean 'degree'?",
    (*ASKING, "--order", "revers"): "unknown order 'revers'; did you mean 'reversed'?",
    ("X", "--task", "path_sta"): "unknown task 'path_sta'; did you mean 'path_star'?",
}


@pytest.mark.parametrize("arguments", MISUSES, ids=" ".join)
def test_a_misuse_is_one_line(mistake, arguments):
    assert mistake(*arguments) == MISUSES[arguments]


def ask_for(folder, *more):
    return [folder, "--task", "path_star", "--count", "4", *more]


def test_a_folder_that_is_no_model_is_one_line(mistake, tmp_path):
    line = mistake(*ask_for(tmp_path))
    assert line.startswith(f"MODEL: no causal language model could be loaded from {tmp_path} (")
    assert mistake(*ask_for("no-such/model")).endswith("or a name on a hub that can be reached")
    assert "encodes before it decodes" in mistake(*ask_for(save("t5", tmp_path / "t5")))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_folder_without_a_tokenizer_is_one_line(mistake, family):
    line = mistake(*ask_for(saved(family)))
    assert line.startswith("MODEL: ")
    assert "tokenizer" in line
    assert line.endswith("save the model's own into the same folder")


def test_a_tokenizer_of_another_model_is_one_line(mistake, tmp_path):
    folder = save("gpt2", tmp_path / "model", vocab=50)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(f"{saved_with_tokenizer('gpt2')}/{file}", folder)
    assert "and the model knows 50; save the model's own into the same folder" in mistake(*ask_for(folder))


def test_a_model_that_reads_symbols_is_one_line(mistake, tmp_path):
    line = mistake(*ask_for(save_with_symbols(TASK, tmp_path)))
    assert line.startswith(f"MODEL: the tokenizer of {tmp_path} reads some symbols alone, not the text of ")
    assert line.endswith("a run of unforced is measured by `unforced evaluate RUN_FOLDER`")


def test_a_prompt_that_is_too_long_is_one_line(mistake, tmp_path):
    folder = save_with_tokenizer("gpt2", tmp_path / "short", positions=300)
    line = mistake(*ask_for(folder, "--shots", "9"))
    assert line.startswith(f"MODEL: {folder} reads at most 300 tokens; the longest prompt has ")
    assert line.endswith("and the answer takes up to 35; lower --shots, or make the task smaller")


def test_chatting_without_a_template_is_one_line(mistake):
    line = mistake(*ask_for(saved_with_tokenizer("llama"), "--chat"))
    assert line.endswith("has no chat template; drop --chat, or take a model that was trained to chat")


def test_a_chat_template_that_refuses_is_told(chatting, questions):
    reader = Reader.load(chatting, chat=True)
    reader.tokenizer.chat_template = "{{ raise_exception('no turns, please') }}"
    with pytest.raises(UserError, match=r"refuses the turns .*no turns, please"):
        reader.converse(questions.conversations())


PARTS = (
    "{% for m in messages %}{{ m['role'] }}: {% for part in m['content'] %}{{ PART }}{% endfor %}\n"
    "{% endfor %}assistant: "
)


@pytest.mark.parametrize(
    "part",
    ["part['text']", "part['text'] if part['type'] == 'text' else raise_exception('what is this?')"],
)
def test_a_template_that_takes_contents_as_parts_gets_them_so(chatting, questions, part):
    reader, plain = Reader.load(chatting, chat=True), Reader.load(chatting, chat=True)
    reader.tokenizer.chat_template = PARTS.replace("PART", part)
    plain.tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    )
    conversations = questions.conversations()
    assert reader.converse(conversations) == plain.converse(conversations)


def test_a_template_that_leaves_out_a_question_is_refused(chatting, questions):
    reader = Reader.load(chatting, chat=True)
    reader.tokenizer.chat_template = "{{ messages[0]['content'] }} assistant: "
    with pytest.raises(UserError, match=r"refuses the turns \(it leaves out what they say\)"):
        reader.converse(questions.conversations())


def test_a_lack_of_memory_is_one_line(call, monkeypatch):
    def greedy(*arguments):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Writer, "__call__", greedy)
    code, _, errors = call("ask", *ask_for(saved_with_tokenizer("gpt2")))
    assert code == 75
    assert errors == (
        "unforced: out of memory: take a smaller model, lower --shots, or make the task smaller\n"
    )


def test_the_verb_prints_what_was_asked_and_a_table(call, folder):
    code, output, errors = call(
        "ask", *ask_for(folder, "degree=3", "path_length=4", "num_nodes=20", "--show", "2")
    )
    assert code == 0, errors
    task = PathStar(degree=3, path_length=4, num_nodes=20)
    asked = Questions.draw(task, "forward", 0, 4, 3)
    assert all(prompt in output for prompt in asked.prompts()[:2])
    assert asked.prompts()[2] not in output
    for words in ("chance 33.3%", "held-out, free", "token_3", "wrong arm", "read as", "verdict"):
        assert words in output


def test_the_verb_prints_json(call, chatting):
    code, output, errors = call("ask", *ask_for(chatting, "--order", "reversed", "--chat", "--json"))
    assert code == 0, errors
    found = json.loads(output)
    assert (found["model"], found["order"], found["shots"], found["chat"]) == (chatting, "reversed", 3, True)
    assert found["task"] == PathStar().model_dump()
    assert set(found["test.free.exact"]) == {"value", "correct", "total", "low", "high"}
    assert found["test.free.exact"]["total"] == sum(found["test.free.errors"].values()) == 4
    assert [set(one) for one in found["shown"]] == [{"prompt", "written", "read", "true", "verdict"}]


def learn_by_heart(folder, asked, answers):
    """Train the model in a folder until it goes on from each prompt with the answer and an end of line."""
    reader = Reader.load(folder)
    network = AutoModelForCausalLM.from_pretrained(folder)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    prompts = reader.ids(asked.prompts())
    ids = [prompt + reader.ids([f"{answer}\n"])[0] for prompt, answer in zip(prompts, answers, strict=True)]
    for _ in range(200):
        losses = []
        for prompt, row in zip(prompts, map(torch.tensor, ids), strict=True):
            logits = network(row[None]).logits[0, len(prompt) - 1 : -1]
            losses.append(torch.nn.functional.cross_entropy(logits, row[len(prompt) :]))
        loss = torch.stack(losses).mean()
        if loss < 0.02:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.save_pretrained(folder)


def save_with_special_labels(folder):
    """Save a random Llama, some of whose special tokens are digits, and one is a separator."""
    tokenizer = AutoTokenizer.from_pretrained(saved_with_tokenizer("llama"))
    tokenizer.add_special_tokens({"additional_special_tokens": [*"13579", "11", "<mark>"]})
    tokenizer.add_tokens([AddedToken(",", special=True)])
    save("llama", folder, len(tokenizer), 2048)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_labels_that_are_special_tokens_are_read_in_answers(call, tmp_path, questions):
    asked = Questions.draw(TASK, "forward", 0, 4, 0)
    folder = save_with_special_labels(tmp_path / "special")
    learn_by_heart(folder, asked, TASK.text.answers(TASK.answers(asked.problems)))
    fields = ["degree=2", "path_length=3", "num_nodes=12", "--shots", "0"]
    code, output, errors = call("ask", *ask_for(folder, *fields, "--json"))
    assert code == 0, errors
    assert json.loads(output)["test.free.errors"]["correct"] == 4
    reader = Reader.load(folder, characters=questions.characters)
    written = reader.ids(["<mark>11<mark>,7"])[0] + [reader.tokenizer.eos_token_id]
    assert reader.text(written) == "117"  # the separator was not named


@pytest.mark.parametrize("kind", ["correct", "wrong_arm"])
def test_a_model_trained_to_a_behaviour_is_told_by_it(call, tmp_path, kind):
    asked = Questions.draw(TASK, "reversed", 0, 4, 0)
    said = TASK.answers(asked.problems) if kind == "correct" else TASK.lookahead.decoys(asked.problems)[:, 0]
    folder = save_with_tokenizer("llama", tmp_path / kind)
    learn_by_heart(folder, asked, TASK.text.answers(in_order(said, "reversed")))
    fields = ["degree=2", "path_length=3", "num_nodes=12", "--order", "reversed", "--shots", "0"]
    code, output, errors = call("ask", *ask_for(folder, *fields, "--json"))
    assert code == 0, errors
    assert json.loads(output)["test.free.errors"][kind] == 4
