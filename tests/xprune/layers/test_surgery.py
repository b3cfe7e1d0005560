"""A cut network does what the gated one does, its original stays whole, dead layers go."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from runtime_bench.errors import EdgeError
from tests.reference.toy_networks import noise, tiny_yolo, toy
from xprune.layers import surgery
from xprune.layers.candidates import Candidate, find_candidates
from xprune.layers.substitutes import Replacement, applicable, build, replacement
from xprune.layers.surgery import apply_plan, dead_layers, replacements_from_json
from xprune.models.families import YOLO

YOLO_SIZE = (96, 64)
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4}


def run_toy(network: nn.Module) -> list[Tensor]:
    """The toy's result on two pictures of noise."""
    return [network(noise(2).to(next(network.parameters())))]


def run_yolo(network: nn.Module) -> list[Tensor]:
    """Raw outputs of the head on two pictures of noise."""
    images = noise(2, YOLO_SIZE).to(next(network.parameters()))
    outputs = YOLO.head_outputs(network, images)
    return [outputs["boxes"], outputs["scores"]]


NETWORKS = {"toy": (toy, run_toy), "yolo": (tiny_yolo, run_yolo)}


@pytest.fixture(scope="module", params=NETWORKS)
def case(request: pytest.FixtureRequest):
    """A network in float64, how to run it, and its candidates by name."""
    build_network, run = NETWORKS[request.param]
    network = build_network(dtype=torch.float64)
    return network, run, {c.name: c for c in find_candidates(network, lambda: run(network))}


def filled(wanted: Replacement, dtype: torch.dtype) -> nn.Module:
    """A substitute with weights of its own."""
    module = build(wanted).to(dtype)
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
    return module


def gated(network: nn.Module, run, closed: Mapping[str, nn.Module]) -> list[Tensor]:
    """What comes out when each named layer runs, but its output is its substitute's."""
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda module, args, output, substitute=substitute: substitute(args[0])
        )
        for name, substitute in closed.items()
    ]
    results = run(network)
    for handle in handles:
        handle.remove()
    return results


def cut_and_gated(network: nn.Module, run, wanted: list[Replacement]):
    """Results of the cut network and of the gated one, with the same substitutes."""
    dtype = next(network.parameters()).dtype
    modules = {one.layer: filled(one, dtype) for one in wanted}
    cut = apply_plan(network, wanted)
    for name, module in modules.items():
        cut.get_submodule(name).load_state_dict(module.state_dict())
    return run(cut), gated(network, run, modules)


def assert_same(results: tuple[list[Tensor], list[Tensor]], tolerance: float) -> None:
    """Largest differences stay below `tolerance` times the largest value."""
    for cut, whole in zip(*results, strict=True):
        assert cut.shape == whole.shape
        assert torch.isfinite(whole).all()
        assert (cut - whole).abs().max() <= tolerance * whole.abs().max()


def outermost(found: Mapping[str, Candidate], substitute: str) -> list[Replacement]:
    """As many layers at once as do not contain each other: those without a child that fits."""
    fitting = [c for c in found.values() if applicable(c, substitute)]
    return [
        replacement(candidate, substitute)
        for candidate in fitting
        if not any(other.name.startswith(f"{candidate.name}.") for other in fitting)
    ]


@pytest.mark.parametrize("substitute", ["zero", "identity", "affine", "linear"])
def test_cut_is_gated_for_every_toy_layer(substitute):
    """One layer at a time, in float64."""
    network = toy()
    for candidate in find_candidates(network, lambda: run_toy(network)):
        if applicable(candidate, substitute):
            wanted = [replacement(candidate, substitute)]
            assert_same(cut_and_gated(network, run_toy, wanted), 1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("substitute", ["zero", "identity", "affine", "linear"])
def test_cut_is_gated_for_many_layers_at_once(case, substitute, dtype):
    """Every innermost layer that the substitute fits, on raw head outputs."""
    network, run, found = case
    wanted = outermost(found, substitute)
    network = copy.deepcopy(network).to(dtype)

    assert len(wanted) > 2
    assert_same(cut_and_gated(network, run, wanted), TOLERANCE[dtype])


def test_cut_is_gated_with_different_substitutes(case):
    """Blocks whole, layers with a stride, and the neighbours of both."""
    network, run, found = case
    names = (
        {"stem": "linear", "stage.0": "affine", "stage.1.first": "identity", "tower": "linear"}
        if "stem" in found
        else {
            "model.1": "linear",
            "model.4": "linear",
            "model.6.m.1": "identity",
            "model.9": "affine",
            "model.22.cv2.1.1": "linear",
        }
    )
    wanted = [replacement(found[name], substitute) for name, substitute in names.items()]

    assert_same(cut_and_gated(network, run, wanted), 1e-5)


def test_the_input_is_left_untouched(case):
    """The same modules with the same tensors, and what is not replaced is copied."""
    network, run, found = case
    modules = dict(network.named_modules())
    state = copy.deepcopy(network.state_dict())
    before = run(network)
    wanted = outermost(found, "linear")

    cut = apply_plan(network, wanted)
    for weight in cut.state_dict().values():
        weight.zero_()

    assert dict(network.named_modules()) == modules
    assert all(
        torch.equal(state[name], weight) for name, weight in network.state_dict().items()
    )
    assert_same((run(network), before), 0)
    assert not cut.training


def test_substitutes_take_the_type_of_their_layer(case):
    """Precision is that of the network; no weight asks for a gradient."""
    network, _, found = case

    cut = apply_plan(network.to(torch.float64), outermost(found, "linear"))

    assert {weight.dtype for weight in cut.parameters()} == {torch.float64}
    assert not any(weight.requires_grad for weight in cut.parameters())


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (["stage", "stage.0"], "'stage.0' and a layer that contains it"),
        (["stage.0.first.conv", "stage.0"], "a layer that contains it"),
        (["down", "down"], "twice"),
        (["stage.7"], "no layer 'stage.7'"),
        ([""], "no layer ''"),
        (["pool"], "'pool' has no weights"),
        (["tower.1"], "'tower.1' cannot be replaced by 'zero'"),
    ],
)
def test_layers_that_cannot_go_are_refused(layers, message):
    """Nested, doubled, unknown and weightless ones: one line that names the layer."""
    wanted = [Replacement(layer, "zero", 6, 6) for layer in layers]

    with pytest.raises(EdgeError, match=message) as caught:
        apply_plan(toy(), wanted)

    assert "\n" not in str(caught.value)


def without_effect(network: nn.Module, run, names: set[str]) -> set[str]:
    """The layers whose output can be drowned in noise and no result moves: death by trial."""
    before = run(network)
    generator = torch.Generator().manual_seed(5)
    dead = set()
    for name in names:
        handle = network.get_submodule(name).register_forward_hook(
            lambda module, args, y: y + torch.randn(y.shape, generator=generator, dtype=y.dtype)
        )
        if all(torch.equal(a, b) for a, b in zip(before, run(network), strict=True)):
            dead.add(name)
        handle.remove()
    return dead


def inside(names: set[str], name: str) -> bool:
    """Whether a layer is one of `names` or inside one."""
    return any(name == other or name.startswith(f"{other}.") for other in names)


@pytest.mark.parametrize("place", [0, 1])
def test_what_only_fed_a_zero_is_cut_away(case, place):
    """The dead layers are those that noise shows to be dead; outputs stay, weights go."""
    network, run, found = case
    zeroed = (("down", "tower") if "down" in found else ("model.9", "model.12"))[place]
    chosen = [replacement(found[zeroed], "zero")]
    cut = apply_plan(network, chosen)

    dead = dead_layers(cut, found.values(), lambda module: run(module))

    left = {name for name, _ in cut.named_modules() if name in found and name != zeroed}
    names = {wanted.layer for wanted in dead}
    assert without_effect(cut, run, left) == {name for name in left if inside(names, name)}
    assert not any(inside(names - {name}, name) for name in names)
    smaller = apply_plan(network, [*chosen, *dead])
    assert_same((run(smaller), run(cut)), 0)
    sizes = [sum(w.numel() for w in n.parameters()) for n in (smaller, cut, network)]
    assert sizes[1] < sizes[2]
    assert sizes[0] < sizes[1] if dead else sizes[0] == sizes[1]


def test_the_layers_behind_a_zeroed_block_are_found(case):
    """The chain that led to it alone: by name, for one block of each network."""
    network, run, found = case
    zeroed, expected = (
        ("down", {"stem", "stage"}) if "down" in found else ("model.9", {"model.7", "model.8"})
    )
    cut = apply_plan(network, [replacement(found[zeroed], "zero")])

    dead = dead_layers(cut, found.values(), run)

    assert {wanted.layer for wanted in dead} == expected
    assert {wanted.substitute for wanted in dead} == {"zero"}


def test_nothing_is_dead_in_a_whole_network(case):
    """Every candidate feeds the result; looking leaves no hooks and no gradients."""
    network, run, found = case

    assert dead_layers(network, found.values(), run) == ()

    assert not any(module._forward_hooks for module in network.modules())
    assert not any(w.requires_grad or w.grad is not None for w in network.parameters())


def test_a_plan_survives_its_checkpoint_form(case):
    """Entry by entry, for every layer and substitute."""
    _, _, found = case
    wanted = [
        replacement(candidate, name)
        for candidate in found.values()
        for name in ("zero", *applicable(candidate))
    ]

    assert replacements_from_json([one.to_json() for one in wanted]) == tuple(wanted)


GOOD = {
    "layer": "stage.0",
    "substitute": "linear",
    "in_channels": 6,
    "out_channels": 6,
    "stride": [1, 1],
}
HOSTILE = {
    "no list": {"layer": "stage.0"},
    "no entry": ["stage.0"],
    "lacking": [{k: v for k, v in GOOD.items() if k != "stride"}],
    "more": [{**GOOD, "code": "import os"}],
    "unknown": [{**GOOD, "substitute": "eval"}],
    "unhashable": [{**GOOD, "substitute": ["linear"]}],
    "no name": [{**GOOD, "layer": 7}],
    "no number": [{**GOOD, "in_channels": "6"}],
    "true": [{**GOOD, "in_channels": True}],
    "float": [{**GOOD, "out_channels": 6.0}],
    "none": [{**GOOD, "out_channels": 0}],
    "negative": [{**GOOD, "in_channels": -6}],
    "huge": [{**GOOD, "in_channels": 10**12}],
    "stride": [{**GOOD, "stride": [1]}],
    "no stride": [{**GOOD, "stride": [0, 1]}],
    "text stride": [{**GOOD, "stride": "11"}],
    "identity": [{**GOOD, "substitute": "identity", "out_channels": 5}],
    "affine": [{**GOOD, "substitute": "affine", "stride": [2, 2]}],
}


@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_hostile_entries_are_refused(entries):
    """Anything but what `to_json` writes is one line of error; the good entry is none."""
    assert len(replacements_from_json([GOOD])) == 1

    with pytest.raises(EdgeError, match="plan") as caught:
        replacements_from_json(entries)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {**GOOD, "in_channels": 65_536, "out_channels": 65_536},
        {**GOOD, "out_channels": 65_536},
        {**GOOD, "substitute": "zero", "out_channels": 65_536},
        {**GOOD, "substitute": "affine", "in_channels": 9_000, "out_channels": 9_000},
    ],
)
def test_a_forged_plan_gets_no_memory(entry, monkeypatch):
    """More channels than the network has anywhere are refused before anything is built."""
    monkeypatch.setattr(surgery, "build", lambda wanted: pytest.fail("built"))

    with pytest.raises(EdgeError, match=r"'stage\.0' .* this network has 40 at most"):
        apply_plan(_with_wide_end(), replacements_from_json([entry]))


def _with_wide_end() -> nn.Module:
    network = toy()
    network.out = nn.Conv2d(8, 40, 1)
    return network


def test_many_forged_entries_together_get_no_memory(monkeypatch):
    """Each of them is possible alone; all together outweigh the network many times."""
    network = nn.Sequential(*(nn.PReLU() for _ in range(100)), nn.Conv2d(500, 4, 1))
    entries = [
        {**GOOD, "layer": str(i), "in_channels": 500, "out_channels": 500} for i in range(99)
    ]
    monkeypatch.setattr(surgery, "build", lambda wanted: pytest.fail("built"))

    with pytest.raises(EdgeError, match="substitutes have 24,750,000 weights"):
        apply_plan(network, replacements_from_json(entries))
