"""Exported folders, loaded again: the network, the objective's heads and the decoder, to answer prompts.

    model = load_exported("exported/mine")
    model.answer(["1,7|1,4|7,9|4,2/1,9="])        ["1,7,9"]

For decoders that `generate` of transformers does not have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from safetensors.torch import load_file
from torch import Tensor, nn

from unforced.config import Run, build_decoder
from unforced.data.batch import Prompts
from unforced.decoding.base import Decoder
from unforced.errors import UserError
from unforced.files import read_json
from unforced.huggingface import import_transformers
from unforced.models.base import SequenceModel
from unforced.models.pretrained import Pretrained, behind_the_contract

CONFIG, DECODING, HEADS = "unforced.json", "decoding.json", "heads.safetensors"


@dataclass(frozen=True)
class ExportedModel:
    """A trained model and how it answers.

    room          most tokens of an answer
    mask_token    id that stands where an answer token is hidden
    end           id of the end-of-answer token; None if all answers have the same length
    specials      ids of further special tokens, by name
    dtype         of matrix products, as where it was measured
    """

    model: SequenceModel
    heads: nn.Module
    decoder: Decoder
    tokenizer: Any
    room: int
    mask_token: int
    end: int | None
    specials: Mapping[str, int]
    dtype: torch.dtype
    device: torch.device

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Answer lines of prompts, up to the end token if there is one.

        Where the decoder samples, the i-th prompt gets the noise of the i-th problem of a split.
        """
        return [self._text(row) for row in self.tokens(prompts).tolist()]

    def _text(self, row: list[int]) -> str:
        end = row.index(self.end) if self.end in row else len(row)
        return str(self.tokenizer.decode(row[:end], clean_up_tokenization_spaces=False))

    @torch.inference_mode()
    def tokens(self, prompts: Sequence[str]) -> Int[Tensor, "count room"]:
        """Return the token ids of the answers; they do not depend on which prompts are answered together."""
        rows = self.tokenizer(list(prompts))["input_ids"]
        answers = torch.empty((len(rows), self.room), dtype=torch.int64)
        for length in sorted({len(row) for row in rows}):  # so that none is padded
            numbers = torch.tensor([i for i, row in enumerate(rows) if len(row) == length])
            tokens = torch.tensor([rows[i] for i in numbers]).to(self.device)
            some = Prompts(
                tokens, None, self.room, self.mask_token, self.end, numbers.to(self.device), self.specials
            )
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
                answers[numbers] = self.decoder.decode(self.model, self.heads, some).cpu()
        return answers


def load_exported(folder: Path | str, device: torch.device | str = "cpu") -> ExportedModel:
    """Load a folder that `unforced export` wrote. Raises UserError for any other folder."""
    folder, device = Path(folder), torch.device(device)
    if not (folder / DECODING).is_file():
        raise UserError(f"{folder} has no {DECODING}: `unforced export RUN_FOLDER --to FOLDER` writes one")
    facts = read_json(folder / DECODING)
    transformers = import_transformers("an exported model")
    network = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = behind_the_contract(network, {}, tokenizer.model_max_length).to(device)
    decoder = build_decoder(facts["decoder"])
    heads = _heads(folder, model, decoder).to(device).eval()
    return ExportedModel(
        model=model,
        heads=heads,
        decoder=decoder,
        tokenizer=tokenizer,
        room=facts["room"],
        mask_token=facts["mask_token"],
        end=facts["end"],
        specials=facts["specials"],
        dtype=getattr(torch, facts["autocast_dtype"]),
        device=device,
    )


def _heads(folder: Path, model: SequenceModel, decoder: Decoder) -> nn.Module:
    """Return the heads that the decoder relies on."""
    if not (folder / HEADS).exists():
        return nn.Identity()
    run = Run.from_tree(read_json(folder / CONFIG))
    trunk = model.trunk()
    if not isinstance(run.model, Pretrained):  # its blocks are those of the model that was trained
        trunk = run.model.build_empty(model.vocab_size, trunk.max_length).trunk()
    heads = run.objective.build_heads(trunk)
    heads.load_state_dict(load_file(folder / HEADS))
    return run.objective.heads_for(decoder, heads)
