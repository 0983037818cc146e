"""transformers' Trainer on objectives: the loss and the gradient are those of our own loop."""

import copy
from dataclasses import replace

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.trainer_utils import get_last_checkpoint

from tests.pretrained import CAUSAL, OTHERS
from tests.runs import unchecked
from tests.tokens import joining
from tests.trainer import ROWS, USUAL, InOrder, arguments, assert_same, offered, problem, step
from unforced.errors import UserError
from unforced.files import read_json
from unforced.integrations.answer_collator import AnswerCollator
from unforced.integrations.labelled_batch import answer_batch
from unforced.integrations.transformers import ObjectiveMixin, ObjectiveTrainer
from unforced.objectives.future_summary import FutureSummary
from unforced.objectives.masked import Masked
from unforced.objectives.mixture import Mixture, MixturePart
from unforced.objectives.next_token import NextToken
from unforced.objectives.registers import Registers
from unforced.registry import OBJECTIVES

OFFERED = offered()
NOISY = Mixture(parts=tuple(MixturePart(objective=each) for each in (Registers(), FutureSummary())))
"""Random offsets, and heads."""


def test_objectives_are_offered_whose_models_answer_by_themselves():
    kinds = {"next_token", "teacherless", "mixture", "multi_token", "token_order", "future_summary"}
    heads = {f"multi_token {kind}" for kind in ("parallel", "sequential", "shared", "transfer", "leap")}
    assert {*OFFERED} == kinds | heads | {"next_latent", "registers", "scribbled"}


@pytest.mark.parametrize("name", OFFERED)
def test_the_loss_and_the_gradient_are_those_of_our_loop(name):
    asked = problem(OFFERED[name])
    for parts in (1, 2) if len(asked.own.terms) > 1 else (1,):
        assert_same(step(asked, ROWS // parts, parts), asked.own)


def test_adapters_of_peft_get_the_gradient_of_the_loss_of_our_loop():
    asked = problem(NOISY)
    adapted = peft.get_peft_model(
        copy.deepcopy(asked.network),
        peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, init_lora_weights=False),
    )
    found = step(asked, ROWS // 2, 2, model=adapted)
    merged = problem(NOISY, network=copy.deepcopy(adapted).merge_and_unload())
    assert found.loss == pytest.approx(merged.own.loss, rel=1e-5)
    for name, gradient in found.gradient.items():
        if "lora_" in name:  # W = W0 + scale (B A)^T
            layer = adapted.get_submodule(name.split(".lora_")[0])
            of_map = merged.own.gradient[
                name.split(".lora_")[0].removeprefix("base_model.model.") + ".weight"
            ]
            a, b, scale = (
                layer.lora_A["default"].weight,
                layer.lora_B["default"].weight,
                layer.scaling["default"],
            )
            of_product = scale * of_map.T
            expected = (b.T @ of_product if "lora_A" in name else of_product @ a.T).detach()
            assert gradient == pytest.approx(expected, abs=1e-4 * expected.abs().max().item()), name
        else:
            assert gradient == pytest.approx(merged.own.gradient[name], abs=1e-4), name


def tuned(asked, folder, resume=None, **options):
    args = arguments(folder, **{"max_steps": 4, "learning_rate": 1e-2, "optim": "adamw_torch"} | options)
    trainer = ObjectiveTrainer(
        copy.deepcopy(asked.network),
        args,
        objective=asked.objective,
        train_dataset=asked.rows,
        eval_dataset=asked.rows[:3],
        processing_class=asked.tokenizer,
    )
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def test_a_checkpoint_has_the_heads_beside_a_plain_model_and_resumes_exactly(tmp_path):
    asked = problem(NOISY)
    saving = {"per_device_train_batch_size": 3, "save_strategy": "steps", "save_steps": 2}
    straight = tuned(asked, tmp_path / "straight", **saving)
    straight.save_model(tmp_path / "saved")
    first = tmp_path / "straight" / "checkpoint-2"
    resumed = tuned(asked, tmp_path / "resumed", resume=str(first), **saving)
    for key, weight in straight.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[key]), key
    for key, weight in straight.heads.state_dict().items():
        assert torch.equal(weight, resumed.heads.state_dict()[key]), key
    assert not torch.equal(
        *(load_file(each / "heads.safetensors")["1.weight"] for each in (first, tmp_path / "saved"))
    )
    logged = [
        [{key: value for key, value in line.items() if "loss" in key} for line in each.state.log_history[:4]]
        for each in (straight, resumed)
    ]
    assert logged[0] == logged[1]
    assert len(logged[0][2]) == 5
    assert get_last_checkpoint(tmp_path / "resumed").endswith("checkpoint-4")

    plain, report = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not report["unexpected_keys"]
    assert not report["missing_keys"]
    tokens = torch.arange(9)[None]
    assert torch.equal(plain(tokens).logits, straight.model.eval()(tokens).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").mask_token == asked.tokenizer.mask_token
    told = read_json(tmp_path / "saved" / "objective.json")
    assert OBJECTIVES.get(told["objective"].pop("name"))(**told["objective"]) == NOISY
    assert told["special_tokens"]["register"] == asked.tokenizer.convert_tokens_to_ids("<|register|>")
    assert (told["separator"], told["closes"]) == ("", True)

    other = replace(asked, objective=NextToken())
    with pytest.raises(
        UserError, match=r"checkpoint-2/objective.json: .*'mixture', which is 'next_token' here"
    ):
        tuned(other, tmp_path / "again", resume=str(first), **saving)
    (first / "heads.safetensors").unlink()
    with pytest.raises(UserError, match=r"checkpoint-2/heads.safetensors: these are no heads of mixture"):
        tuned(asked, tmp_path / "again", resume=str(first), **saving)


def test_an_evaluation_has_the_objectives_loss_and_the_models_logits():
    asked = problem(NOISY)
    seen = []
    trainer = InOrder(
        asked.network,
        arguments(per_device_eval_batch_size=ROWS),
        objective=asked.objective,
        eval_dataset={"all": asked.rows},
        processing_class=asked.tokenizer,
        compute_metrics=lambda found: seen.append(found.predictions.shape) or {},
    )
    trainer.heads.load_state_dict(asked.heads)
    assert trainer.evaluate()["eval_all_loss"] == pytest.approx(asked.own.loss, rel=1e-5)
    assert seen[0][::2] == (ROWS, len(asked.tokenizer))
    trainer.compute_metrics = None
    assert trainer.predict(asked.rows).predictions.shape == seen[0]
    with pytest.raises(UserError, match="a row of a batch: it has token 999"):
        trainer.evaluate([{"prompt": [999], "answer": [1]}])


def test_rows_are_the_same_as_text_as_tokens_and_with_labels_wherever_they_are_padded():
    asked = problem(NOISY)
    collator = AnswerCollator(asked.tokenizer)
    from_text = collator(asked.rows)
    read = collator.read(asked.rows, ["row"] * ROWS)
    pairs = [{"question": list(row.prompt), "reply": list(row.answer)} for row in read]
    labelled = [
        {"input_ids": [*row.prompt, *row.answer, 0], "labels": [-100] * len(row.prompt) + [*row.answer, -100]}
        for row in read
    ]
    for other in (AnswerCollator(None, "question", "reply")(pairs), AnswerCollator()(labelled)):
        assert all(torch.equal(batch, other[key]) for key, batch in from_text.items() if key != "input_ids")
        assert answer_batch(other, 0, {}).answer_mask.sum() == (from_text["labels"] != -100).sum()
    on_the_left = {key: batch.clone() for key, batch in from_text.items()}
    for batch in on_the_left.values():
        for index, length in enumerate(from_text["attention_mask"].sum(1).tolist()):
            batch[index] = batch[index].roll(batch.shape[1] - length)
    one, other = (answer_batch(batch, 0, {}) for batch in (from_text, on_the_left))
    assert torch.equal(one.prompt * one.prompt_mask, other.prompt * other.prompt_mask)
    assert torch.equal(one.answer * one.answer_mask, other.answer * other.answer_mask)
    assert not one.prompt_mask.all()
    assert not one.answer_mask.all()


def refused(asked, model=None, objective=None, rows=None, tokenizer=None, kind=ObjectiveTrainer, **options):
    with pytest.raises(UserError) as error:
        kind(
            asked.network if model is None else model,
            arguments(**options.pop("arguments", {})),
            objective=asked.objective if objective is None else objective,
            train_dataset=asked.rows if rows is None else rows,
            processing_class=asked.tokenizer if tokenizer is None else tokenizer,
            **options,
        )
    return str(error.value)


@pytest.fixture(scope="module")
def asked():
    return problem(Registers())


@pytest.mark.parametrize(
    ("objective", "line"),
    [
        (Masked(), "objective: masked needs attention to later tokens"),
        ("insertion", "objective: insertion needs attention to later tokens"),
        ("belief_state", "objective: belief_state writes answers with its heads"),
        ("mixtures", "did you mean 'mixture'?"),
        (
            {"name": "next_token", "train_positions": [99]},
            "objective.train_positions: 99 is not an answer position of these data; they are 0 to ",
        ),
        ({"name": "multi_token", "horizon": 40}, "objective.horizon: 40 parallel heads look 40 tokens ahead"),
    ],
)
def test_an_objective_that_does_not_fit_is_refused(objective, line, asked):
    assert line in refused(asked, objective=objective)


ROW = {"prompt": "1,2=", "answer": "1"}
ROW_MISTAKES = {
    "train_dataset[1]: the answer is empty": {"prompt": "1,2=", "answer": ""},
    "train_dataset[1]: it has no columns 'prompt' and 'answer', and no 'input_ids'": {
        "question": "1", "answer": "2"
    },
    "train_dataset[1]: prompt and answer have 3001 tokens, and the model reads at most 2048": {
        "prompt": [1] * 3000, "answer": [1]
    },
    "train_dataset[1]: prompt and answer are str and int": {"prompt": "1", "answer": 1},
    "train_dataset[1]: all labels are -100": {"input_ids": [1, 2], "labels": [-100, -100]},
    "train_dataset[1]: labels are not the tokens": {"input_ids": [1, 2, 3], "labels": [-100, 3, 4]},
    "train_dataset[1]: a label behind": {"input_ids": [1, 2, 3, 4], "labels": [-100, 2, -100, 4]},
    "train_dataset[1]: the prompt has no token": {"input_ids": [1, 2], "labels": [1, 2]},
    "train_dataset[1]: it has token 999": {"prompt": [999], "answer": [1]},
    "train_dataset[1]: it is None; give an object": None,
    "train_dataset[1]: it has token -3; ids count from 0": {"prompt": [-3, 3], "answer": [1]},
    "train_dataset[1]: prompt and answer are int and int": {"prompt": 5, "answer": 25},
    "train_dataset[1]: prompt is a list of texts": {"prompt": ["5="], "answer": ["25", "26"]},
    "train_dataset[1]: prompt is a list of lists": {"prompt": [[3, 4]], "answer": [[4]]},
    "train_dataset[1]: prompt holds 2.5, which is no token id": {"prompt": [2.5, 3], "answer": [4]},
    "train_dataset[1]: the answer is empty but for blanks, so": {"prompt": "5=", "answer": "  "},
    "train_dataset[1]: it is a conversation; write": {"prompt": [{"role": "user"}], "answer": "25"},
    "tokenizer.apply_chat_template": {"messages": [{"role": "user", "content": "5="}]},
    "say TrainingArguments(remove_unused_columns=False)": {},
}  # fmt: skip


@pytest.mark.parametrize("line", ROW_MISTAKES)
def test_a_row_that_cannot_be_trained_on_is_named(line, asked):
    assert line in refused(asked, rows=[ROW, ROW_MISTAKES[line]])


def test_data_that_are_no_rows_are_refused(asked):
    assert refused(asked, rows=[]) == "train_dataset: it has no rows; give some, or leave it out"
    assert "train_dataset: it is several data sets (train, test); give one, as data['train']" in refused(
        asked, rows={"train": asked.rows, "test": asked.rows}
    )


def test_an_answer_that_ends_in_the_eos_token_gets_no_other(asked):
    end = asked.tokenizer.eos_token
    one, other = (
        AnswerCollator(asked.tokenizer)([{"prompt": "1,2=", "answer": answer}])["input_ids"]
        for answer in ("1", "1" + end)
    )
    assert torch.equal(one, other)


def test_a_tokenizer_that_joins_prompt_and_answer_is_refused(asked):
    tokenizer = joining(["=1"] * 9)
    tokenizer.add_tokens(["<|register|>"])
    line = refused(asked, rows=[ROW], tokenizer=tokenizer)
    assert (
        "train_dataset[0]: the tokenizer joins the end of the prompt with the answer ('1,2=' + '1')" in line
    )


def test_a_model_that_does_not_fit_is_refused(asked):
    assert "T5ForConditionalGeneration encodes before it decodes" in refused(asked, OTHERS["t5"](400, 64))
    assert "a mamba shares no weights with ours" in refused(asked, CAUSAL["mamba"](400, 64))
    assert "give a causal language model" in refused(asked, torch.nn.Linear(2, 2))
    assert "take a model of the GPT-2, GPT-NeoX or Llama" in refused(asked, OTHERS["bert"](400, 2048))
    small = CAUSAL["gpt2"](len(asked.tokenizer) - 1, 2048)
    assert "model.resize_token_embeddings(len(tokenizer))" in refused(asked, small)
    learned = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    assert "it learns prompts" in refused(asked, peft.get_peft_model(copy.deepcopy(asked.network), learned))
    assert "give AutoModelForCausalLM.from_pretrained('gpt2')" in refused(asked, "gpt2")
    sliding = OTHERS["mistral"](400, 2048)
    assert "tokens, and the model attends to no more than the last 6;" in refused(asked, sliding)
    eager = copy.deepcopy(asked.network)
    eager.set_attn_implementation("eager")
    assert "attn_implementation='sdpa'" in refused(asked, eager)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_model_that_computes_logits_in_another_way_is_refused_in_every_precision(dtype, asked):
    model = OTHERS["granite"](len(asked.tokenizer), 2048).to(dtype)
    assert "computes its logits in another way" in refused(asked, model)
    fitting = CAUSAL["llama"](len(asked.tokenizer), 2048).to(dtype)
    ObjectiveTrainer(fitting, arguments(), objective="next_token")


def test_what_a_loss_needs_beside_the_rows_is_asked_for(asked):
    bare = copy.deepcopy(asked.tokenizer)
    bare.mask_token = None
    line = refused(asked, objective="teacherless", tokenizer=bare, special_tokens={"mask": "<hidden>"})
    assert (
        "the tokenizer has no <hidden>; say tokenizer.add_special_tokens({'mask_token': '<hidden>'})" in line
    )
    assert "has no token 'mask'" in refused(asked, special_tokens={"mask": 3})
    with unchecked():
        assert "by name, as {'mask': '<mask>'}, not '<mask>'" in refused(asked, special_tokens="<mask>")
        for wrong in ([1], 1.5):
            line = refused(asked, objective="teacherless", special_tokens={"mask": wrong})
            assert f"'mask' is {wrong}; give the text of one token, or its id" in line
    assert "label_smoothing_factor" in refused(asked, arguments={"label_smoothing_factor": 0.1})
    assert "give what is null in name=" in refused(asked, objective="next_latent", rows=iter(asked.rows))


def test_a_model_that_a_trainer_had_is_as_it_was(asked):
    network = copy.deepcopy(asked.network)
    tokens, before = torch.arange(9)[None], {*network.state_dict()}
    logits = network.eval()(tokens).logits
    step(asked, ROWS, 1, model=network)
    assert {*network.state_dict()} == before
    assert torch.equal(network.eval()(tokens).logits, logits)
    assert network.config._attn_implementation == "sdpa"


def test_sft_trainer_of_trl_has_the_loss_and_the_gradient_of_our_loop(asked, tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")

    class ObjectiveSFTTrainer(ObjectiveMixin, trl.SFTTrainer):
        _get_train_sampler = InOrder._get_train_sampler

    rows = datasets.Dataset.from_list(asked.rows).rename_column("answer", "completion")
    for parts in (1, 2):
        args = trl.SFTConfig(
            tmp_path,
            **USUAL,
            bf16=False,
            gradient_checkpointing=False,
            per_device_train_batch_size=ROWS // parts,
            gradient_accumulation_steps=parts,
        )
        found = step(replace(asked, rows=rows), ROWS // parts, parts, kind=ObjectiveSFTTrainer, args=args)
        assert_same(found, asked.own)
