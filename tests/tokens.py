"""Tokenizers of the kinds that language models have, trained on a task's lines."""

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

END, START = "<eos>", "<bos>"


def trained(tokenizer, lines, vocab_size, alphabet):
    options = {"vocab_size": vocab_size, "special_tokens": [END, START], "show_progress": False}
    tokenizer.train_from_iterator(lines, trainers.BpeTrainer(initial_alphabet=alphabet, **options))
    return tokenizer


def byte_level(lines, vocab_size=300, use_regex=True):
    """GPT-2's kind: bytes merged within runs of digits or signs; across them too, without the regex."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)
    tokenizer.decoder = decoders.ByteLevel()
    trained(tokenizer, lines, vocab_size, pre_tokenizers.ByteLevel.alphabet())
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def sentence_piece(lines, vocab_size=300):
    """Llama's kind: a blank before the text is written as a mark, digits stand alone, texts have a start."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d|[^\d]"), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    trained(tokenizer, lines, vocab_size, list("▁0123456789,|/=+"))
    start = tokenizer.token_to_id(START)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, start)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, bos_token=START)


def letters(lines, vocab_size=300):
    """One token a character."""
    return byte_level(lines, vocab_size=258)


def joining(lines, vocab_size=300):
    """Merges whatever stands together often, `,7` as well as `=1`."""
    return byte_level(lines, vocab_size, use_regex=False)


def ending(tokenizer, start=""):
    """The same, but that it puts the end token behind a text, and what is given before it."""
    special = [(token, tokenizer.convert_tokens_to_ids(token)) for token in (END, START)]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=[*start.split(), "$A", END], special_tokens=special
    )
    return tokenizer


KINDS = {"byte_level": byte_level, "sentence_piece": sentence_piece, "letters": letters}
