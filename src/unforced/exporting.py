"""A run as a folder that transformers loads: weights, tokenizer, and a card that says how to decode them.

A GGUF file as such a folder, too.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from unforced.config import Run
from unforced.errors import UserError
from unforced.experiment import LoadedRun, load_run
from unforced.exported import CONFIG, DECODING, HEADS
from unforced.files import read_json, write_json
from unforced.huggingface import import_transformers
from unforced.models.gguf import read_gguf
from unforced.models.older_transformers import write_for_both
from unforced.reporting.card import Card, is_generate
from unforced.runs.folder import RunFolder
from unforced.runs.schemas import with_present_names
from unforced.training.source import split_problems
from unforced.wording import typed

_NUM_EXAMPLES = 2
_OF_A_DISK = {"lost+found"}  # in an empty folder where a disk is mounted


@dataclass(frozen=True)
class Exported:
    """What was written where, of which weights; `refused` are checkpoints that could not be used."""

    folder: Path
    architecture: str
    files: list[str]
    step: int
    refused: list[str]


def export_run(path: Path, folder: Path, base: Path | None = None) -> Exported:
    """Write the newest usable weights of the run folder `path` into `folder`, for transformers to load.

    config.json, model.safetensors, generation_config.json    the network
    tokenizer.json, tokenizer_config.json                     what reads and writes the task's lines
    README.md                                                 the card
    unforced.json                                             the run's config
    decoding.json                                             the decoder, and what it must know
    heads.safetensors                                         the heads that the objective trained

    base: as in `load_run`. Raises UserError, and leaves nothing: the folder holds something, `path` is no run
    folder with a checkpoint, no network of transformers computes the same, the disk is full.
    """
    _check_free(folder)
    loaded = load_run(path, base)
    network = loaded.train_module.model.to_transformers()
    network.generation_config = _generation_config(loaded.run)
    tokenizer = loaded.run.codec.build_tokenizer(loaded.train_module.length)
    card = _card(RunFolder.open(path), loaded, network)
    heads = {
        key: each.clone() for key, each in loaded.train_module.heads.state_dict().items()
    }  # none is shared
    with _written_whole(folder) as draft:
        network.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        write_for_both(draft)
        (draft / "README.md").write_text(card.text(), encoding="utf-8")
        shutil.copyfile(RunFolder(path).config, draft / CONFIG)
        write_json(draft / DECODING, _decoding(loaded.run, card.autocast_dtype))
        if heads:
            save_file(heads, draft / HEADS)
        _let_all_be_read_alike(draft)
    files = sorted(file.name for file in folder.iterdir())
    return Exported(folder, card.architecture, files, loaded.step, loaded.refused)


def export_gguf(file: Path, folder: Path) -> list[str]:
    """Write the language model in a GGUF file into `folder`, for `pretrained` and transformers to load.

    Returns the names of the files. Raises UserError, and leaves nothing, as `export_run` and `read_gguf` do.
    """
    _check_free(folder)
    network, tokenizer = read_gguf(file)
    with _written_whole(folder) as draft:
        network.save_pretrained(draft)
        tokenizer.save_pretrained(draft)
        _let_all_be_read_alike(draft)
    return sorted(each.name for each in folder.iterdir())


def _generation_config(run: Run) -> Any:
    """Let `generate` write an answer's tokens, up to its end if there is a token for it.

    It says nothing of how where the run was not decoded token by token, greedily.
    """
    end = run.codec.end
    greedily = {"do_sample": False} if is_generate(run.decoding) else {}
    return import_transformers("unforced export").GenerationConfig(
        **greedily, max_new_tokens=run.codec.answer_length, eos_token_id=end, pad_token_id=end
    )


def _decoding(run: Run, autocast_dtype: str) -> dict[str, Any]:
    codec = run.codec
    return {
        "decoder": run.decoding.model_dump(mode="json"),
        "room": codec.answer_length,
        "mask_token": codec.mask_token,
        "end": codec.end,
        "specials": dict(codec.specials),
        "autocast_dtype": autocast_dtype,
    }


def _card(folder: RunFolder, loaded: LoadedRun, network: Any) -> Card:
    run, result = loaded.run, folder.read_result() if folder.done else None
    problems = split_problems(run, "test", _NUM_EXAMPLES)
    return Card(
        run=run,
        architecture=type(network).__name__,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        head_parameters=sum(parameter.numel() for parameter in loaded.train_module.heads.parameters()),
        step=loaded.step,
        examples=run.task.texts(problems, run.order),
        tokens=run.codec.description,
        result=result if result is not None and result["steps"] == loaded.step else None,
        autocast_dtype=_matrix_dtype(folder),
    )


def _matrix_dtype(folder: RunFolder) -> str:
    """Read what a run's last session multiplied matrices in; float32 where it does not say."""
    environment = with_present_names(read_json(folder.env)) if folder.env.exists() else {}
    return str(environment.get("autocast_dtype", "float32"))


def _check_free(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or {file.name for file in folder.iterdir()} - _OF_A_DISK):
        raise UserError(
            f"{folder} exists and is not an empty folder; nothing was written, choose another {typed('to')}"
        )


def _let_all_be_read_alike(folder: Path) -> None:
    """Give all files the same permissions: safetensors lets nobody but the owner read the weights."""
    mode = (folder / "config.json").stat().st_mode
    for file in folder.iterdir():
        file.chmod(mode & 0o777)


@contextlib.contextmanager
def _written_whole(folder: Path) -> Iterator[Path]:
    """Give a folder to write into; its files are in `folder` at the end, or nothing is.

    A folder that exists stays the same one, as it may be where a disk is mounted or where a shell is, and
    its parent need not be writable. Files are moved into it one by one, CONFIG last.
    """
    target = folder.resolve()
    exists = target.exists()
    draft = target / f".draft.{os.getpid()}" if exists else target.with_name(f".{target.name}.{os.getpid()}")
    moved: list[Path] = []
    try:
        draft.mkdir(parents=True)
        yield draft
        if exists:
            for file in sorted(draft.iterdir(), key=lambda file: (file.name == CONFIG, file.name)):
                moved.append(file.replace(target / file.name))
        else:
            draft.replace(target)
    except BaseException as error:  # Ctrl-C, too
        for file in moved:
            file.unlink(missing_ok=True)
        if not isinstance(error, (OSError, SafetensorError)):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{folder}: {reason}; nothing was written, choose another {typed('to')}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
