"""Prompts: CLIP's tokens, WebUIs' signs, chunks, weights, textual inversions and LoRA tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from miniature import Miniature
from safetensors.torch import save_file

from lib_iclight.errors import HostError, SettingsError, WeightsError
from lib_iclight.folders import Folders
from lib_iclight.generation import Generation
from lib_iclight.hosts.standalone import prompts
from lib_iclight.hosts.standalone.embeddings import Embeddings
from lib_iclight.hosts.standalone.emphasis import BREAK, Part, parts_of
from lib_iclight.hosts.standalone.host import Standalone
from lib_iclight.hosts.standalone.loras import Lora
from lib_iclight.hosts.standalone.memory import means
from lib_iclight.hosts.standalone.prompts import CHUNK
from lib_iclight.hosts.standalone.tags import read_tags, without_tags
from lib_iclight.hosts.standalone.text import TextEncoder, weighted_chunks

CHECKPOINT = Miniature()
CPU = torch.device("cpu")
WIDTH = 24
"""of the miniature's text encoder"""
CAT, COMMA = 2368, 267
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def models() -> Any:
    return CHECKPOINT.load()


def encoder(models: Any, *folders: Path) -> TextEncoder:
    return TextEncoder(models.text_encoder, models.tokenizer, means(CPU, "high"), Embeddings(folders))


def hidden(models: Any, *rows: list[int]) -> torch.Tensor:
    """The text encoder run on ids that are laid out by hand."""
    with torch.no_grad():
        result: torch.Tensor = models.text_encoder(torch.tensor(rows)).last_hidden_state
    return result


# --- tokens -------------------------------------------------------------------------------------------------------


def test_the_tokenizer_is_clips() -> None:
    tokenizer = prompts.clip_tokenizer()
    assert len(tokenizer) == 49408
    # ids as published with CLIP and quoted in its users' documentation
    assert tokenizer("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("Hello,  WORLD!")["input_ids"] == [49406, 3306, 267, 1002, 256, 49407]
    assert tokenizer.convert_ids_to_tokens([0, 255, 256, 511]) == ["!", "Ń", "!</w>", "Ń</w>"]


def test_a_missing_vocabulary_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(HostError, match=r"requirements/data\.txt"):
        prompts._vocabulary_file()


# --- signs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("prompt", "parts"), [
    ("", [Part("")]),
    ("a cat", [Part("a cat")]),
    ("a (cat)", [Part("a "), Part("cat", 1.1)]),
    ("a ((cat))", [Part("a "), Part("cat", 1.1 * 1.1)]),
    ("a [cat] here", [Part("a "), Part("cat", 1 / 1.1), Part(" here")]),
    ("a (cat:1.3)", [Part("a "), Part("cat", 1.3)]),
    ("a (cat: 0.5 )", [Part("a "), Part("cat", 0.5)]),
    ("(big (cat:2) here:0.5)", [Part("big ", 0.5), Part("cat", 1.0), Part(" here", 0.5)]),
    ("(a)(b)", [Part("ab", 1.1)]),
    ("(a:1)b", [Part("ab")]),
    (r"a \(cat\) \[x\] \\", [Part(r"a (cat) [x] " + "\\")]),
    ("back\\slash", [Part("backslash")]),
    ("(open", [Part("open", 1.1)]),
    ("[open", [Part("open", 1 / 1.1)]),
    ("shut) and ]", [Part("shut) and ]")]),
    ("5:30, a:1.2)", [Part("5:30, a:1.2)")]),
    ("(a [b:1.5)", [Part("a ", 1.5 / 1.0), Part("b", 1.5 / 1.1)]),
    ("a BREAK b", [Part("a"), BREAK, Part("b")]),
    ("a BREAK  BREAK b", [Part("a"), BREAK, Part(""), BREAK, Part("b")]),
    ("(a BREAK b:1.2)", [Part("a", 1.2), BREAK._replace(weight=1.2), Part("b", 1.2)]),
    ("BREAKFAST", [Part("BREAKFAST")]),
])
def test_signs_are_read_as_webuis_do(prompt: str, parts: list[Part]) -> None:
    found = parts_of(prompt)
    assert [(part.text, part.is_break) for part in found] == [(part.text, part.is_break) for part in parts]
    assert [part.weight for part in found] == pytest.approx([part.weight for part in parts])


@pytest.mark.parametrize(("prompt", "message"), [
    ("a [cat:dog:0.5]", "words that change"), ("a [cat:0.5]", "words that change"), ("[cat|dog]", "words that change"),
    ("a cat AND a dog", "AND in capitals"), ("(cat:1.2.3)", "no number"), ("(cat:.)", "no number"),
])
def test_what_webuis_know_beside_is_refused(prompt: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        parts_of(prompt)


def test_plain_prompts_take_every_letter(models: Any) -> None:
    text = encoder(models)
    ids = models.tokenizer("a [cat:0.5] AND (dog)", add_special_tokens=False).input_ids
    expected = hidden(models, [49406, *ids, *[49407] * (76 - len(ids))])
    assert torch.allclose(text.encode("a [cat:0.5] AND (dog)", "plain"), expected, atol=1e-6)


# --- chunks -------------------------------------------------------------------------------------------------------


def words(count: int, comma_after: int | None = None) -> list[int]:
    tokens = [CAT] * count
    if comma_after is not None:
        tokens.insert(comma_after, COMMA)
    return tokens


def chunks_of(tokens: list[int]) -> list[list[int]]:
    return [chunk.tokens for chunk in weighted_chunks("words", lambda text: tokens)]


def test_chunks_have_75_tokens_and_end_behind_a_comma_that_is_near() -> None:
    assert chunks_of([]) == [[]]
    assert chunks_of(words(75)) == [words(75)]
    assert chunks_of(words(80)) == [words(75), words(5)]
    assert chunks_of(words(79, 60)) == [words(60, 60), words(19)]
    assert chunks_of(words(79, 55)) == [words(55, 55), words(24)]
    assert chunks_of(words(79, 54)) == [words(74, 54), words(5)], "a comma 21 tokens back is far"
    assert chunks_of([*words(75), COMMA, CAT]) == [words(75), [COMMA, CAT]]
    assert chunks_of(words(75, 74)) == [words(74, 74), [CAT]]


def test_a_break_begins_a_chunk() -> None:
    found = weighted_chunks("cat BREAK (cat:2)", lambda text: [CAT] if text else [])
    assert [(chunk.tokens, chunk.weights) for chunk in found] == [([CAT], [1.0]), ([CAT], [2.0])]
    assert [len(chunk.ids()) for chunk in found] == [77, 77]


def test_long_prompts_are_encoded_in_chunks(models: Any) -> None:
    text = encoder(models)
    long, short = text.encode("cat " * 80), text.encode("")
    chunks = hidden(models, [49406] + [2368] * 75 + [49407], [49406] + [2368] * 5 + [49407] * 71)
    empty = hidden(models, [49406] + [49407] * 76)
    assert torch.allclose(long, chunks, atol=1e-6)
    assert torch.equal(long, text.encode("cat " * 80, "plain"))
    assert torch.allclose(short, empty, atol=1e-6)
    positive, negative = prompts.pair(long, short)
    assert torch.equal(positive, long.reshape(1, 154, -1))
    assert torch.equal(negative, torch.cat([short, short], 1))


def test_shorter_prompts_repeat_their_chunks_in_order() -> None:
    three, two = torch.arange(3.0).reshape(3, 1, 1), torch.arange(10.0, 12).reshape(2, 1, 1)
    positive, negative = prompts.pair(three, two)
    assert positive.flatten().tolist() == [0, 1, 2]
    assert negative.flatten().tolist() == [10, 11, 10]


def test_weights_scale_the_state_and_its_mean_stays() -> None:
    models = CHECKPOINT.load()
    with torch.no_grad():  # a new norm's state has a mean of nothing but rounding
        models.text_encoder.text_model.final_layer_norm.bias.fill_(0.3)
    plain = hidden(models, [49406, 320, CAT, *[49407] * 74])
    weights = torch.ones(77)
    weights[2] = 1.5
    expected = plain * weights[None, :, None]
    expected = expected * plain.mean() / expected.mean()
    found = encoder(models).encode("a (cat:1.5)")
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, plain, atol=1e-3)


def test_a_prompt_is_encoded_once(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = encoder(models)
    first = text.encode("a cat")
    monkeypatch.setattr("lib_iclight.hosts.standalone.text.encode_chunks", lambda *args: pytest.fail("encoded again"))
    assert text.encode("a cat") is first


# --- textual inversions -------------------------------------------------------------------------------------------


def write_embedding(path: Path, vectors: torch.Tensor, key: str = "emb_params") -> Path:
    save_file({key: vectors}, path)
    return path


def test_a_textual_inversion_takes_its_words_place(models: Any, tmp_path: Path) -> None:
    vectors = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0))
    write_embedding(tmp_path / "my-style.safetensors", vectors)
    table = models.text_encoder.text_model.embeddings.token_embedding
    found = encoder(models, tmp_path).encode("a My-Style cat")

    def put(_: Any, __: Any, looked_up: torch.Tensor) -> torch.Tensor:
        changed = looked_up.clone()
        changed[0, 2:4] = vectors
        return changed

    handle = table.register_forward_hook(put)
    try:
        expected = hidden(models, [49406, 320, 0, 0, CAT, *[49407] * 72])
    finally:
        handle.remove()
    assert torch.allclose(found, expected, atol=1e-6)
    plain = encoder(models).encode("a My-Style cat")
    assert not torch.allclose(found, plain, atol=1e-3)
    assert torch.equal(encoder(models).encode("a My-Style cat"), plain), "nothing is left on the model"


def test_of_names_that_begin_alike_the_longest_counts(models: Any, tmp_path: Path) -> None:
    write_embedding(tmp_path / "glow.safetensors", torch.zeros(1, WIDTH))
    write_embedding(tmp_path / "glow lamp.safetensors", torch.ones(3, WIDTH))
    text = encoder(models, tmp_path)
    find = text._embeddings.lookup(text._tokens)
    match = find(text._tokens("glow lamp"), 0)
    assert match is not None and match.path.stem == "glow lamp"
    match = find(text._tokens("glow cat"), 0)
    assert match is not None and match.path.stem == "glow"
    assert find(text._tokens("a glow"), 0) is None


def test_an_inversion_that_does_not_fit_begins_a_chunk() -> None:
    from lib_iclight.hosts.standalone.embeddings import Match

    tokens = [*words(74), 5]
    [first, second] = weighted_chunks("x", lambda text: tokens,
                                      lambda given, at: Match(Path("x"), 1) if given[at] == 5 else None,
                                      lambda path: torch.ones(2, WIDTH))
    assert first.tokens == words(74) and second.tokens == [0, 0]
    assert [at for at, _ in second.vectors] == [0]


def test_what_moves_behind_a_comma_takes_its_vectors_along() -> None:
    from lib_iclight.hosts.standalone.embeddings import Match

    tokens = [*words(60, 60), 5, *words(20)]
    [first, second] = weighted_chunks("x", lambda text: tokens,
                                      lambda given, at: Match(Path("x"), 1) if given[at] == 5 else None,
                                      lambda path: torch.ones(2, WIDTH))
    assert first.tokens == words(60, 60) and not first.vectors
    assert second.tokens == [0, 0, *words(20)] and [at for at, _ in second.vectors] == [0]


@pytest.mark.parametrize(("tensors", "message"), [
    ({"a": torch.zeros(1, WIDTH), "b": torch.zeros(1, WIDTH)}, "2 tensors"), ({"a": torch.zeros(2, 7)}, "shape"),
    ({"a": torch.zeros(CHUNK + 1, WIDTH)}, "shape"), ({"a": torch.full((1, WIDTH), float("nan"))}, "no numbers"),
])
def test_inversions_that_cannot_be_used(models: Any, tmp_path: Path, tensors: Any, message: str) -> None:
    save_file(tensors, tmp_path / "glow.safetensors")
    with pytest.raises(WeightsError, match=message):
        encoder(models, tmp_path).encode("a glow")
    assert len(encoder(models, tmp_path).encode("a cat")) == 1, "unless a prompt names it"


def test_a_pickled_inversion_is_named_and_not_opened(models: Any, tmp_path: Path) -> None:
    (tmp_path / "glow.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(WeightsError, match=r"glow\.pt, which is a pickle"):
        encoder(models, tmp_path).encode("a glow")
    write_embedding(tmp_path / "glow.safetensors", torch.zeros(1, WIDTH))
    assert len(encoder(models, tmp_path).encode("a glow")) == 1


# --- LoRA tags ----------------------------------------------------------------------------------------------------

MODULE = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT_MODULE = "text_model.encoder.layers.0.self_attn.q_proj"


def write_lora(path: Path, seed: int = 0) -> Path:
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, side in ((f"lora_unet_{MODULE}", 8), (f"lora_te_{TEXT_MODULE}", WIDTH)):
        name = name.replace(".", "_")
        tensors |= {f"{name}.lora_up.weight": torch.randn(side, 2, generator=generator),
                    f"{name}.lora_down.weight": torch.randn(2, side, generator=generator)}
    path.parent.mkdir(exist_ok=True, parents=True)
    save_file(tensors, path)
    return path


def test_tags_name_files_and_strengths(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "below" / "my style.safetensors")
    for tag, strengths in (("<lora:my style>", (1, 1)), ("<lora:my style:0.8>", (0.8, 0.8)),
                           ("<lora:My Style:0.5:0.8>", (0.8, 0.5)), ("<lora:my style:unet=0.3>", (0.3, 1)),
                           ("<lora:my style:te=0.5:unet=0>", (0.0, 0.5)), ("<lora:my style:-1>", (-1, -1))):
        text, [lora] = read_tags(f"a cat {tag}, warm", [tmp_path])
        assert text == "a cat , warm"
        assert (lora.path, lora.strength, lora.text_strength) == (path, *strengths)
    assert read_tags("1 < 2 > 0, <b>", [tmp_path]) == ("1 < 2 > 0, <b>", [])


@pytest.mark.parametrize(("prompt", "error", "message"), [
    ("<lora:my stile:1>", WeightsError, "Did you mean 'my style'"), ("<lora:my style:x>", SettingsError, "no number"),
    ("<lora:my style:1:1:1>", SettingsError, "more than"), ("<lora:my style:lbw=x>", SettingsError, "more than"),
    ("<hypernet:a:1>", SettingsError, "only <lora"),
])
def test_tags_that_cannot_be_meant(tmp_path: Path, prompt: str, error: type[Exception], message: str) -> None:
    write_lora(tmp_path / "my style.safetensors")
    with pytest.raises(error, match=message):
        read_tags(prompt, [tmp_path])


def test_a_tag_in_the_negative_prompt_is_refused() -> None:
    assert without_tags("bad, 1 < 2") == "bad, 1 < 2"
    with pytest.raises(SettingsError, match="negative prompt"):
        without_tags("bad <lora:a:1>")


def test_a_tagged_lora_is_on_for_its_job_only(tmp_path: Path, models: Any) -> None:
    from test_standalone import make_job

    path = write_lora(tmp_path / "style.safetensors")
    offsets = CHECKPOINT.offsets("fc")
    host = Standalone(CHECKPOINT, device=CPU, folders=Folders((), (), (tmp_path,)))
    values: dict[str, Any] = {"width": 64, "height": 64, "steps": 1}
    plain = Generation(prompt="a cat", **values)
    before = host.relight(make_job(), plain, offsets).pictures[0].picture.tobytes()
    tagged = host.relight(make_job(), Generation(prompt="a cat<lora:style:0.5>", **values), offsets)
    given = Standalone(CHECKPOINT, device=CPU, loras=[Lora(path, 0.5)]).relight(make_job(), plain, offsets)
    assert tagged.pictures[0].picture.tobytes() == given.pictures[0].picture.tobytes() != before
    assert host.relight(make_job(), plain, offsets).pictures[0].picture.tobytes() == before
    state = host.text.model.state_dict()
    assert all(torch.equal(state[key], weight) for key, weight in models.text_encoder.state_dict().items())
