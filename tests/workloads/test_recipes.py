"""Recipes of training precision: names, options, and what each kernel of a cast moves."""

from __future__ import annotations

import pytest

from hardware_specs.errors import InputError, UnknownName
from workloads.recipes import (
    RECIPES,
    Scaling,
    TrainingFormats,
    recipe_names,
    recipe_of,
    training_formats,
    usual_recipe,
)

NARROW = [recipe for recipe in RECIPES if recipe.narrow]


def moved(kernels: tuple[tuple[str, float, float], ...]) -> float:
    return sum(read + write for _, read, write in kernels)


def test_names_and_aliases_mean_one_recipe_each() -> None:
    spellings = [name for recipe in RECIPES for name in (recipe.name, *recipe.aliases)]
    assert len(spellings) == len(set(spellings))
    assert recipe_names()[:4] == ("bf16", "fp16", "fp32", "tf32")
    assert recipe_of("rowwise_with_gw_hp").weight_gradient == "bf16"
    assert recipe_of("Delayed").name == "fp8-delayed"
    assert all(recipe.words for recipe in RECIPES)


def test_options_change_a_recipe() -> None:
    found = recipe_of("fp8-rowwise:wgrad=bf16,ends=2,gather=fp8")
    assert (found.weight_gradient, found.wide_ends, found.gathers) == ("bf16", 2, True)
    with pytest.raises(InputError, match="no option 'ends=x'; allowed are ends=LAYERS"):
        recipe_of("mxfp8:ends=x")
    with pytest.raises(InputError, match="bf16 casts nothing"):
        recipe_of("bf16:ends=1")
    with pytest.raises(UnknownName, match="did you mean 'fp8-tensorwise'"):
        recipe_of("fp8-tensorwide")


def test_a_precision_goes_before_the_dtype() -> None:
    assert training_formats("", "fp16") == TrainingFormats("fp16", "")
    assert training_formats("tf32", "bf16") == TrainingFormats("tf32", "")
    assert training_formats("fp8", "bf16") == TrainingFormats("fp8", "")
    assert training_formats("fp8_delayed:ends=1", "bf16") == TrainingFormats("fp8", "fp8_delayed:ends=1")


def test_runtimes_have_a_usual_recipe_and_formats_stand_for_one() -> None:
    assert usual_recipe("megatron-core-2025").name == "fp8-delayed"
    assert usual_recipe("torchtitan-2025").name == "fp8-tensorwise"
    assert usual_recipe("torchtitan-2025", "fp8_block").name == "fp8-blockwise"


@pytest.mark.parametrize(
    ("name", "both", "rows", "fused"),
    [
        ("fp8-tensorwise", 2 + 2 + 2, 2 + 2 + 1, 2 + 2),
        ("fp8-delayed", 2 + 2, 2 + 1, 1 + 1),
        ("fp8-rowwise", (2 + 1 + 2) + (2 + 1), 2 + 1, (1 + 2) + (2 + 1)),
        ("fp8-blockwise", 2 + 2 * (1 + 4 / 128), 2 + 1 + 4 / 128, 2 * (1 + 4 / 128)),
        ("mxfp8", 2 + 2 * (1 + 1 / 32), 2 + 1 + 1 / 32, 2 * (1 + 1 / 32)),
    ],
)
def test_bytes_of_casts(name: str, both: float, rows: float, fused: float) -> None:
    """Of an activation in 16 bits: both directions, rows alone, and where its producer does a part."""
    scaling = Scaling(recipe_of(name))
    assert moved(scaling.activation(True)) == pytest.approx(both)
    assert moved(scaling.activation(False)) == pytest.approx(rows)
    assert moved(scaling.activation(True, fused=True)) == pytest.approx(fused)


@pytest.mark.parametrize("recipe", NARROW, ids=lambda recipe: recipe.name)
def test_less_to_do_moves_no_more(recipe: object) -> None:
    hopper, blackwell = Scaling(recipe), Scaling(recipe, transposes=False)  # type: ignore[arg-type]
    for columns in (False, True):
        whole = moved(hopper.activation(columns))
        assert moved(hopper.activation(columns, fused=True)) < whole
        assert moved(blackwell.activation(columns)) <= whole
    assert moved(blackwell.weights(True)) <= moved(hopper.weights(True))
    assert moved(hopper.weights(False)) >= 3.0


def test_gradients_in_16_bits_need_no_second_copy() -> None:
    wide, narrow = Scaling(recipe_of("fp8-rowwise:wgrad=bf16")), Scaling(recipe_of("fp8-rowwise"))
    assert moved(wide.activation(True)) == 3.0
    assert (wide.kept_input_bytes, narrow.kept_input_bytes) == (2.0, 1.0)


def test_what_stays_in_memory() -> None:
    """Transformer Engine's example on Hopper: 1 byte of the input; of weights a copy each way (user guide, performance
    considerations); shards keep none and are gathered in 8 bits where the scale is one for the tensor."""
    delayed = recipe_of("fp8-delayed")
    assert Scaling(delayed).kept_input_bytes == 1.0
    assert Scaling(delayed).weight_copy_bytes == 2.0
    assert Scaling(delayed, transposes=False).weight_copy_bytes == 1.0
    assert Scaling(delayed, each_time=True).weight_copy_bytes == 0.0
    gathered = [Scaling(recipe_of(f"fp8-{name}")).gathered_weight_bytes for name in ("tensorwise", "rowwise")]
    assert gathered == [1.0, 2.0]
