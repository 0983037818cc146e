"""Fine-tunes a tiny GPT-2: `python -m examples.practitioner.tune stations.jsonl mixture tuned/mixture`.

With a model of yours, `AutoModelForCausalLM.from_pretrained` stands in place of `tiny_model`.
"""

import argparse
import json
from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, TrainingArguments, set_seed

from unforced.integrations.transformers import AnswerCollator, ObjectiveTrainer

SEPARATOR = "="  # between a prompt and its answer
OBJECTIVES = {"mixture": {"name": "mixture", "parts": ["future_summary", "teacherless"]}}
"""Objectives that are more than a name."""


def tiny_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Make a tokenizer with a token for each sign of the texts, one to end answers and one to hide them."""
    signs = ["<eos>", "<mask>", *sorted(set("".join(texts)))]
    letters = Tokenizer(models.WordLevel({sign: number for number, sign in enumerate(signs)}))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    letters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="<eos>", mask_token="<mask>")


def tiny_model(tokenizer: PreTrainedTokenizerFast, layers: int, width: int) -> GPT2LMHeadModel:
    """Make a GPT-2 without dropout, which such small models do not need."""
    end = tokenizer.eos_token_id
    sizes = {"n_layer": layers, "n_embd": width, "n_head": 4, "n_positions": 32, "vocab_size": len(tokenizer)}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    return GPT2LMHeadModel(GPT2Config(**sizes, **dropout, bos_token_id=end, eos_token_id=end))


def main() -> None:
    """Train on the file, by the objective, into the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Fine-tune a tiny GPT-2.")
    parser.add_argument("file")
    parser.add_argument("objective")
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--width", type=int, default=64)
    options = parser.parse_args()
    with open(options.file, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    set_seed(0)
    tokenizer = tiny_tokenizer([row["prompt"] + SEPARATOR + row["answer"] for row in rows])
    trainer = ObjectiveTrainer(
        tiny_model(tokenizer, options.layers, options.width),
        TrainingArguments(
            options.folder,
            max_steps=options.steps,
            per_device_train_batch_size=64,
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            logging_steps=100,
            save_strategy="no",
            report_to=[],
        ),
        AnswerCollator(tokenizer, separator=SEPARATOR),
        objective=OBJECTIVES.get(options.objective, options.objective),
        train_dataset=[row for row in rows if row["split"] == "train"],
        processing_class=tokenizer,
    )
    trainer.train()
    trainer.save_model()


if __name__ == "__main__":
    main()
