"""The key map against two independent writings of the same network: diffusers' model and its checkpoint converter."""

from __future__ import annotations

import pytest
import torch

from lib_iclight.weights.keys import KEYS, TO_DIFFUSERS, TO_LDM, rename, shapes

SD15 = {"in_channels": 4, "cross_attention_dim": 768, "attention_head_dim": 8, "layers_per_block": 2,
        "block_out_channels": (320, 640, 1280, 1280)}


@pytest.mark.parametrize("inputs", [4, 8, 12])
def test_names_and_shapes_are_those_of_the_diffusers_model(inputs: int) -> None:
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        model = UNet2DConditionModel(**(SD15 | {"in_channels": inputs}))
    assert shapes("diffusers", inputs) == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def test_ldm_names_are_those_that_the_converter_of_diffusers_reads() -> None:
    from diffusers import UNet2DConditionModel
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    with torch.device("meta"):
        config = dict(UNet2DConditionModel(**SD15).config)
        checkpoint = {f"model.diffusion_model.{name}": torch.empty(shape)
                      for name, shape in shapes("ldm", 4).items()}
    wanted = {id(tensor): name.removeprefix("model.diffusion_model.") for name, tensor in checkpoint.items()}
    converted = convert_ldm_unet_checkpoint(dict(checkpoint), config)
    assert {name: wanted[id(tensor)] for name, tensor in converted.items()} == dict(TO_LDM)


def test_known_ldm_names() -> None:
    """Keys of the original checkpoint, one of each kind, with shapes written down from its configuration."""
    expected = shapes("ldm", 4)
    assert len(KEYS) == len(expected) == 686
    assert expected["input_blocks.0.0.weight"] == (320, 4, 3, 3)
    assert expected["input_blocks.3.0.op.weight"] == (320, 320, 3, 3)
    assert expected["input_blocks.4.0.skip_connection.weight"] == (640, 320, 1, 1)
    assert expected["input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight"] == (1280, 768)
    assert expected["middle_block.1.transformer_blocks.0.ff.net.0.proj.bias"] == (10240,)
    assert expected["output_blocks.2.1.conv.weight"] == (1280, 1280, 3, 3)
    assert expected["output_blocks.8.2.conv.weight"] == (640, 640, 3, 3)
    assert expected["output_blocks.11.0.in_layers.2.weight"] == (320, 640, 3, 3)
    assert expected["out.2.weight"] == (4, 320, 3, 3)


def test_renaming_there_and_back_changes_nothing() -> None:
    assert len(TO_LDM) == len(TO_DIFFUSERS) == 686
    for key in KEYS:
        assert rename(rename(key.ldm, "ldm", "diffusers"), "diffusers", "ldm") == key.ldm
        assert rename(key.diffusers, "diffusers", "diffusers") == key.diffusers


def test_a_strange_key_has_no_name_in_the_other_layout() -> None:
    with pytest.raises(KeyError):
        rename("input_blocks.12.0.weight", "ldm", "diffusers")
