"""A 3x3 convolution in half the multiplications: Winograd's F(m, 3), along the rows.

Five rows of the result need 5 · 3 products with rows of a filter if each is computed by itself,
and 7 if sums of rows are taken first (Winograd 1980; Lavin and Gray, arXiv 1509.09308).
onnxruntime's CPU provider has no such kernel, and its convolutions run at the processor's limit
already, so this is written into the graph:

- m + 2 sums of rows, each a depthwise convolution with a stride of m rows (B^T of the papers);
- one convolution of 1x3 in m + 2 groups, with the filter's rows combined beforehand (G);
- one product with a matrix, which gives the m rows (A^T), and a transpose that puts them in
  order.

Along one axis only: the exchange of rows is cheap, that of columns is not, and the numbers stay
small: the result differs from the plain one by about as much as another order of summation does
(1e-6 of the greatest value). Of 4, 5 and 6 rows at once, that number is taken which wastes the
fewest on the last tile. It pays where channels are many. The file hardly grows, the memory
of a loaded session by as much as the weights of these layers are.
"""

from collections.abc import Callable
from functools import partial
from math import prod

import numpy as np
import onnx_ir as ir

from exporters.passes.convolution import Array, Convolution, read_convolution
from exporters.rewrites.cook_toom import RESULTS, FastFilter, fast_filter
from exporters.rewrites.edit import Editor, remove_unread, replace_output, static_shape

_BLOCK = 16  # channels that onnxruntime computes at once; groups must be made of whole blocks
_LEAST_CHANNELS = 32  # with fewer, the sums of rows cost as much as is won
# Multiplications of a convolution: what can be won grows with them, and the overhead hardly.
LARGE = 20_000_000
SMALL = 8_000_000
# Sums of rows of a value, by the rows of a tile: two convolutions may read the same.
_NOTE = "sums of rows, {} at once"


def find_large(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first convolution of at least `LARGE` multiplications."""
    return _find(model, least=LARGE)


def find_small(model: ir.Model) -> Callable[[], None] | None:
    """Return the edit for the first convolution of at least `SMALL` multiplications."""
    return _find(model, least=SMALL)


def _find(model: ir.Model, *, least: int) -> Callable[[], None] | None:
    for node in model.graph:
        convolution = read_convolution(node)
        if convolution is None or convolution.shape[2:] != (3, 3) or convolution.groups != 1:
            continue
        shape = static_shape(node.outputs[0])
        outgoing, incoming = convolution.shape[:2]
        if shape is None or shape != _same_size(static_shape(node.inputs[0]), outgoing):
            continue
        if min(outgoing, incoming) < _LEAST_CHANNELS or outgoing % _BLOCK or incoming % _BLOCK:
            continue
        if prod(shape) * prod(convolution.shape[1:]) < least:
            continue
        if _is_simple(node) and shape[2] >= min(RESULTS):
            return partial(_unfold, model, convolution, shape)
    return None


def _same_size(shape: tuple[int, ...] | None, channels: int) -> tuple[int, ...] | None:
    """Return the shape (1, channels, h, w) for one (1, any, h, w)."""
    if shape is None or len(shape) != 4 or shape[0] != 1:
        return None
    return (1, channels, *shape[2:])


def _is_simple(node: ir.Node) -> bool:
    """Whether one pixel is padded on each side, and the filter neither jumps nor is spread."""
    attributes = node.attributes
    return (
        attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
        and list(attributes.get_ints("pads", [0, 0, 0, 0])) == [1, 1, 1, 1]
        and list(attributes.get_ints("strides", [1, 1])) == [1, 1]
        and list(attributes.get_ints("dilations", [1, 1])) == [1, 1]
    )


def best_filter(height: int) -> FastFilter:
    """Return the filter that takes the fewest products for a map of `height` rows."""
    filters = [fast_filter(results) for results in RESULTS]
    return min(filters, key=lambda fast: (_tiles(height, fast) * fast.terms, fast.terms))


def _tiles(height: int, fast: FastFilter) -> int:
    return -(-height // fast.results)


def _unfold(model: ir.Model, convolution: Convolution, shape: tuple[int, ...]) -> None:
    node = convolution.node
    assert node.inputs[0] is not None
    outgoing, (_, _, height, width) = convolution.shape[0], shape
    fast = best_filter(height)
    tiles = _tiles(height, fast)
    edit = Editor(model, node)
    products = edit.node(
        "Conv",
        [
            _stacked_sums(edit, node.inputs[0], fast),
            _combined_filters(edit, convolution, fast),
            edit.constant("bias", _bias_of_one_term(convolution.bias, fast)),
        ],
        (1, fast.terms * outgoing, tiles, width),
        group=fast.terms,
        kernel_shape=[1, 3],
        pads=[0, 1, 0, 1],
    )
    rows = _ordered(edit, products, fast, (outgoing, tiles, width))
    if tiles * fast.results != height:
        bounds = {"first_row": 0, "last_row": height, "row_axis": 2}
        constants = [edit.constant(name, np.array([at])) for name, at in bounds.items()]
        rows = edit.node("Slice", [rows, *constants], shape)
    replace_output(model, node.outputs[0], rows)
    remove_unread(model, node)


def _combined_filters(edit: Editor, convolution: Convolution, fast: FastFilter) -> ir.Value:
    """Insert what combines the rows of each filter: (terms · out, in, 1, 3).

    onnxruntime computes it once, on load, since the weights are constant. So the file holds
    them as they were.
    """
    weight = convolution.node.inputs[1]
    outgoing, incoming, rows, columns = convolution.shape
    by_row = (rows, outgoing, incoming, columns)
    turned = edit.node("Transpose", [weight], by_row, perm=[2, 0, 1, 3])
    flat = (rows, outgoing * incoming * columns)
    filters = edit.node("Reshape", [turned, edit.constant("by_row", np.array(flat))], flat)
    mixed = edit.node(
        "MatMul", [edit.constant("mix", fast.filter), filters], (fast.terms, flat[1])
    )
    shape = (fast.terms * outgoing, incoming, 1, columns)
    return edit.node("Reshape", [mixed, edit.constant("weight", np.array(shape))], shape)


def _bias_of_one_term(bias: Array, fast: FastFilter) -> Array:
    spread = np.zeros((fast.terms, len(bias)))
    spread[fast.once] = bias
    return spread.reshape(-1)


def _stacked_sums(edit: Editor, data: ir.Value, fast: FastFilter) -> ir.Value:
    """Return (1, terms · channels, tiles, width): all sums of rows, made once for a value."""
    note = _NOTE.format(fast.results)
    known = data.meta.get(note)
    made = known.producer() if isinstance(known, ir.Value) and known.uses() else None
    if isinstance(known, ir.Value) and made is not None and edit.comes_before(made):
        return known
    shape = static_shape(data)
    assert shape is not None
    _, channels, height, width = shape
    sums = [_sum_of_rows(edit, data, term, fast) for term in fast.input]
    stacked = edit.node(
        "Concat", sums, (1, fast.terms * channels, _tiles(height, fast), width), axis=1
    )
    data.meta[note] = stacked
    if isinstance(known, ir.Value) and made is not None:
        # They were made for a convolution behind this one: both read these now.
        known.replace_all_uses_with(stacked)
        remove_unread(edit.model, made)
    return stacked


def _sum_of_rows(edit: Editor, data: ir.Value, term: Array, fast: FastFilter) -> ir.Value:
    """Insert one sum for each tile i, of the rows m i - 1 to m i + m."""
    shape = static_shape(data)
    assert shape is not None
    _, channels, height, width = shape
    tiles = _tiles(height, fast)
    last = int(np.flatnonzero(term)[-1])
    # The window begins at row -1; without padding it can begin at row 0.
    first = 0 if term[0] else 1
    taps = term[first : last + 1]
    below = fast.results * (tiles - 1) + last - height
    return edit.node(
        "Conv",
        [
            data,
            edit.constant(
                "sum_of_rows", np.broadcast_to(taps[:, None], (channels, 1, len(taps), 1))
            ),
        ],
        (1, channels, tiles, width),
        group=channels,
        kernel_shape=[len(taps), 1],
        strides=[fast.results, 1],
        pads=[1 - first, 0, below, 0],
    )


def _ordered(
    edit: Editor, products: ir.Value, fast: FastFilter, shape: tuple[int, int, int]
) -> ir.Value:
    """Insert what turns the products of all tiles into rows in their order."""
    channels, tiles, width = shape
    size = channels * tiles * width
    flat = (fast.terms, size)
    terms = edit.node("Reshape", [products, edit.constant("terms", np.array(flat))], flat)
    rows = edit.node(
        "MatMul", [edit.constant("rows", fast.output), terms], (fast.results, size)
    )
    by_row = (fast.results, channels * tiles, width)
    split = edit.node("Reshape", [rows, edit.constant("by_row", np.array(by_row))], by_row)
    by_tile = (channels * tiles, fast.results, width)
    moved = edit.node("Transpose", [split], by_tile, perm=[1, 0, 2])
    whole = (1, channels, tiles * fast.results, width)
    return edit.node("Reshape", [moved, edit.constant("whole", np.array(whole))], whole)
