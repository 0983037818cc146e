"""GGUF files: a language model in one file becomes a folder that says the same."""

import json

import gguf
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.pretrained import saved_with_tokenizer

LINE = "1,7|1,4|7,9|4,2/1,9="


def write(file, folder, arch=gguf.MODEL_ARCH.LLAMA, left_out="none"):
    """Write the Llama in a folder as a GGUF file, as llama.cpp's converter does; return the file."""
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    config = network.config
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[arch])
    writer.add_context_length(config.max_position_embeddings)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_embedding_length(config.hidden_size)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _write_tokenizer(writer, tokenizer)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in network.state_dict().items():
        if left_out not in name:
            if "q_proj" in name or "k_proj" in name:
                heads = tensor.view(config.num_attention_heads, 2, -1, config.hidden_size)
                tensor = heads.transpose(1, 2).reshape(tensor.shape)
            writer.add_tensor(names.get_name(name, (".weight",)), tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_tokenizer(writer, tokenizer):
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    tokens = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    special = set(tokenizer.all_special_tokens)
    kinds = [gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens]
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write(tmp_path_factory.mktemp("gguf") / "model.gguf", saved_with_tokenizer("llama"))


def test_a_file_becomes_a_folder_that_says_the_same(file, tmp_path, call):
    code, output, _ = call("export", str(file), "--to", str(tmp_path / "folder"), "--json")
    assert code == 0
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(json.loads(output)["files"])
    ids, logits = zip(
        *(_said(folder) for folder in (saved_with_tokenizer("llama"), tmp_path / "folder")), strict=True
    )
    assert ids[0] == ids[1]
    torch.testing.assert_close(*logits)
    assert "quantization_config" not in (tmp_path / "folder" / "config.json").read_text()


def _said(folder):
    ids = AutoTokenizer.from_pretrained(folder)(LINE)["input_ids"]
    with torch.no_grad():
        return ids, AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([ids])).logits


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda file, folder: folder / "other.gguf", "there is no file"),
        (lambda file, folder: _text(folder / "text.gguf"), "is not a GGUF file"),
        (lambda file, folder: _cut(file, folder / "cut.gguf"), "reads no causal language model from it"),
        (
            lambda file, folder: write(
                folder / "less.gguf", saved_with_tokenizer("llama"), left_out="layers.1.mlp.up_proj"
            ),
            "1 weights are missing",
        ),
        (
            lambda file, folder: write(
                folder / "bert.gguf", saved_with_tokenizer("llama"), arch=gguf.MODEL_ARCH.BERT
            ),
            "reads no causal language model from it",
        ),
    ],
    ids=["absent", "text", "cut", "without weights", "of no language model"],
)
def test_what_is_no_model_is_one_line_and_leaves_nothing(make, says, file, tmp_path, call):
    code, _, errors = call("export", str(make(file, tmp_path)), "--to", str(tmp_path / "folder"))
    assert code == 2
    assert says in errors.splitlines()[-1]
    assert not (tmp_path / "folder").exists()


def _text(file):
    file.write_text("none")
    return file


def _cut(whole, file):
    file.write_bytes(whole.read_bytes()[:4000])
    return file


def test_a_missing_package_is_named_with_its_extra(file, tmp_path, call, monkeypatch):
    monkeypatch.setattr("transformers.utils.is_gguf_available", lambda: False)
    code, _, errors = call("export", str(file), "--to", str(tmp_path / "folder"))
    assert code == 2
    assert "pip install 'unforced[gguf]'" in errors


@pytest.mark.parametrize("verb", ["ask", "train"])
def test_where_a_folder_is_asked_for_the_command_that_makes_one_is_named(verb, file, call):
    given = (
        [str(file), "--task", "path_star"]
        if verb == "ask"
        else ["small_pretrained", f"model.name_or_path={file}"]
    )
    code, _, errors = call(verb, *given)
    assert code == 2
    assert f"unforced export {file} --to model" in errors
