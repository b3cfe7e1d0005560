"""Exchange layers for their substitutes in a copy of a network; cut away what went dead."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from runtime_bench.errors import EdgeError
from xprune.layers.activations import ACTIVATIONS
from xprune.layers.candidates import BLOCK_KERNEL, Candidate, odd_kernel
from xprune.layers.chains import chain_from_json, is_depthwise
from xprune.layers.substitutes import FAMILIES, SUBSTITUTES, Replacement, build, replacement

Run = Callable[[nn.Module], Iterable[torch.Tensor]]
# Checkpoints of before there were these substitutes lack them.
LATER_FIELDS = {"kernel", "inner_channels", "chains", "bias"}


def apply_plan(network: nn.Module, replacements: Sequence[Replacement]) -> nn.Module:
    """Return a copy of `network` in which every named layer is its substitute.

    The weights of the substitutes are not solved yet; `network` itself is left untouched.

    Raises:
        EdgeError: If the network has no such layer, one layer contains another, or a substitute
            is larger than anything in this network.
    """
    _check_names(network, replacements)
    _check_sizes(network, replacements)
    removed = {id(network.get_submodule(wanted.layer)): wanted for wanted in replacements}
    # Removed layers are not worth a copy: the memo hands the copy their substitutes instead.
    memo: dict[int, object] = {
        key: _dressed(build(wanted, network.get_submodule(wanted.layer)), network, wanted.layer)
        for key, wanted in removed.items()
    }
    return copy.deepcopy(network, memo)


def dead_layers(
    network: nn.Module, candidates: Iterable[Candidate], run: Run
) -> tuple[Replacement, ...]:
    """Return zeros for the layers whose output nothing depends on any more.

    A layer that only fed a constant zero still runs in PyTorch; whether a result depends on it
    is read from the gradient's graph. Of nested dead layers the outermost is returned.

    Args:
        network: A network after `apply_plan`.
        candidates: The layers to look at, parents before their children.
        run: Runs the network it is given on a batch of one and returns its outputs.
    """
    present = dict(network.named_modules())
    alive = _layers_in_graph(network, run)
    dead: dict[str, Replacement] = {}
    for candidate in candidates:
        module = present.get(candidate.name)
        inside_dead = any(candidate.name.startswith(f"{name}.") for name in dead)
        has_weights = module is not None and any(True for _ in module.parameters())
        if has_weights and not inside_dead and candidate.name not in alive:
            dead[candidate.name] = replacement(candidate, "zero")
    return tuple(dead.values())


def replacements_from_json(entries: object) -> tuple[Replacement, ...]:
    """Return the replacements that a checkpoint's metadata describes.

    Raises:
        EdgeError: If an entry is not of the form that `Replacement.to_json` writes.
    """
    if not isinstance(entries, list):
        raise EdgeError("the plan in the checkpoint is not a list; save the model again")
    return tuple(_replacement_from_json(entry) for entry in entries)


def _replacement_from_json(entry: object) -> Replacement:
    problem = EdgeError(f"the checkpoint's plan has a bad entry: {str(entry)[:80]}")
    fields = set(Replacement.__dataclass_fields__)
    if not isinstance(entry, Mapping) or not set(entry) <= fields:
        raise problem
    if not fields - set(entry) <= LATER_FIELDS:
        raise problem
    inner, bias = entry.get("inner_channels", 0), entry.get("bias", True)
    try:
        wanted = Replacement(
            layer=_text(entry["layer"]),
            substitute=_text(entry["substitute"]),
            in_channels=_size(entry["in_channels"]),
            out_channels=_size(entry["out_channels"]),
            stride=_pair(entry["stride"]),
            kernel=_pair(entry.get("kernel", [1, 1])),
            inner_channels=0 if type(inner) is int and inner == 0 else _size(inner),
            chains=tuple(chain_from_json(chain) for chain in _list(entry.get("chains", []))),
            bias=bias is True,
        )
    except ValueError as error:
        raise problem from error
    known = wanted.substitute in SUBSTITUTES and isinstance(bias, bool)
    if not known or not _is_consistent(wanted):
        raise problem
    return wanted


def _is_consistent(wanted: Replacement) -> bool:
    name = wanted.substitute
    keeps_shape = wanted.in_channels == wanted.out_channels and wanted.stride == (1, 1)
    return (
        (keeps_shape or name not in ("identity", "affine", "clip"))
        and all(side % 2 for side in wanted.kernel)
        and (wanted.inner_channels > 0) == (name in FAMILIES["lowrank"])
        and bool(wanted.chains) == (name in FAMILIES["thin"])
        and (wanted.bias or name == "linear")
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def _size(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 65_536:
        raise ValueError("a size")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ValueError("a list")
    return value


def _pair(value: object) -> tuple[int, int]:
    sizes = [_size(size) for size in _list(value)]
    if len(sizes) != 2:
        raise ValueError("a pair")
    return sizes[0], sizes[1]


def _check_names(network: nn.Module, replacements: Sequence[Replacement]) -> None:
    names = [wanted.layer for wanted in replacements]
    substitutes = {wanted.layer: wanted.substitute for wanted in replacements}
    present = {name for name, _ in network.named_modules()}
    for name in names:
        if name not in present or not name:
            raise EdgeError(
                f"the network has no layer '{name}'; `xprune-edge layers` lists them"
            )
        layer = network.get_submodule(name)
        if isinstance(layer, ACTIVATIONS) != (substitutes[name] == "clip"):
            raise EdgeError(f"'{name}' cannot be replaced by '{substitutes[name]}'")
        if not isinstance(layer, ACTIVATIONS) and not any(True for _ in layer.parameters()):
            raise EdgeError(f"'{name}' has no weights: it is no layer that can be replaced")
        if any(other != name and name.startswith(f"{other}.") for other in names):
            raise EdgeError(f"the plan names '{name}' and a layer that contains it; name one")
    if len(set(names)) != len(names):
        raise EdgeError("the plan names a layer twice; each can be replaced once")


def _check_sizes(network: nn.Module, replacements: Sequence[Replacement]) -> None:
    """Refuse what a forged checkpoint could ask for, before memory is spent on it."""
    weights = [*network.parameters()]
    inputs = [m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)]
    widest = max([1, *inputs, *(side for weight in weights for side in weight.shape)])
    kernel = max([max(BLOCK_KERNEL), *map(_widest_window, network.modules())])
    for wanted in replacements:
        if max(wanted.in_channels, wanted.out_channels) > widest:
            raise EdgeError(
                f"the plan gives '{wanted.layer}' {wanted.in_channels} channels in and "
                f"{wanted.out_channels} out, but this network has {widest} at most: the plan "
                "is of another network"
            )
        if max(wanted.kernel) > kernel or wanted.inner_channels > widest:
            raise EdgeError(
                f"the plan gives '{wanted.layer}' a kernel of {wanted.kernel[0]}x"
                f"{wanted.kernel[1]} and {wanted.inner_channels} channels inside, more than "
                "this network has anywhere: the plan is of another network"
            )
        _check_chains(network, wanted)
    asked = sum(_weights(wanted) for wanted in replacements)
    # Far more than any plan that makes a network smaller.
    if asked > 4 * sum(weight.numel() for weight in weights) + widest**2:
        raise EdgeError(
            f"the plan's substitutes have {asked:,} weights, more than the network itself: it "
            "is of another network"
        )


def _check_chains(network: nn.Module, wanted: Replacement) -> None:
    """Refuse chains of modules that are not there, or that are thinner already."""
    problem = EdgeError(
        f"the plan's '{wanted.substitute}' does not fit '{wanted.layer}': the plan is of "
        "another network"
    )
    inside = dict(network.get_submodule(wanted.layer).named_modules())
    sources = {chain.source for chain in wanted.chains}
    if len(sources) < len(wanted.chains):
        raise problem
    for chain in wanted.chains:
        source, reader = inside.get(chain.source), inside.get(chain.reader)
        norms = [inside.get(name) for name in chain.norms]
        if not isinstance(source, nn.Conv2d) or not isinstance(reader, nn.Conv2d):
            raise problem
        alone = [inside.get(name) for name in chain.depthwise]
        if not all(isinstance(norm, nn.BatchNorm2d) for norm in norms):
            raise problem
        if not all(map(is_depthwise, alone)):
            raise problem
        widths = [source.out_channels, reader.in_channels]
        widths += [layer.out_channels for layer in alone if isinstance(layer, nn.Conv2d)]
        widths += [norm.num_features for norm in norms if isinstance(norm, nn.BatchNorm2d)]
        one_group = source.groups == reader.groups == 1 and source is not reader
        if len(set(widths)) > 1 or chain.channels > widths[0] or not one_group:
            raise problem


def _weights(wanted: Replacement) -> int:
    """Return how many weights a substitute has; per pixel it multiplies by each of them."""
    return sum(SUBSTITUTES[wanted.substitute].macs(wanted))


def _widest_window(module: nn.Module) -> int:
    return max(odd_kernel(module)) if isinstance(module, nn.Conv2d) else 1


def _dressed(substitute: nn.Module, network: nn.Module, name: str) -> nn.Module:
    """Give the substitute the plain attributes by which a parent addresses its child.

    Ultralytics, for one, hangs the routing (`f`, `i`) on the module itself.
    """
    layer = network.get_submodule(name)
    for field, value in vars(layer).items():
        if not field.startswith("_") and field != "training" and not hasattr(substitute, field):
            setattr(substitute, field, copy.deepcopy(value))
    weight = next(layer.parameters(), next(network.parameters()))
    return substitute.to(weight.device, weight.dtype)


def _layers_in_graph(network: nn.Module, run: Run) -> set[str]:
    """Return the modules with an output that some result of `run` depends on."""
    outputs: list[tuple[str, torch.Tensor]] = []

    def keep(name: str, output: object) -> object:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            marked = output if output.requires_grad else output.clone().requires_grad_()
            outputs.append((name, marked))
            return marked
        return None

    handles = [
        module.register_forward_hook(lambda *args, name=name: keep(name, args[2]))
        for name, module in network.named_modules()
        if name
    ]
    try:
        with torch.enable_grad():
            results = [result for result in run(network) if result.requires_grad]
            total = torch.stack([result.sum() for result in results]).sum()
            tensors = [tensor for _, tensor in outputs]
            gradients = torch.autograd.grad(total, tensors, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    return {
        name
        for (name, _), gradient in zip(outputs, gradients, strict=True)
        if gradient is not None
    }
