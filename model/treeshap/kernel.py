"""The loops of exact TreeSHAP: plain functions over two arrays, compiled by numba.

`plan` holds whole numbers in sections, each of which begins where the header says;
`reals` holds thresholds, leaf values and tables. `model.treeshap.plan` lays them out;
`model.treeshap.explainer` has the mathematics.

Shapes used throughout: `values`, shape (slots, rows), what each split compares;
`words`, shape (trees, rows), one bit per decision, 1 for left, the root in bit 0;
`entries`, where in `reals` a row of a table begins; `out`, shape (features + 1, rows),
the contributions and behind them the margin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from obligor.arrays import Floats, Ints

Entries = NDArray[np.uint64]

# Header of `plan`: counts, then the start of each section.
(
    N_FEATURES,
    N_TREES,
    N_SLOTS,
    N_TABLES,
    N_PAIRS,
    N_NODES,  # of the largest tree
    N_QUADRATURE,  # nodes of the largest quadrature of a walk
    N_EDGES,  # walked, of the largest tree
    SLOTS,  # feature, kind, is_default_left
    FIRST_RANK,  # per slot and one more
    RANKED,  # tree and bit of each numeric split, by slot and threshold
    MIDDLE,  # per tree: its decisions if every slot is at its middle rank
    FIRST_NODE,  # per tree and one more
    NODE_SLOTS,
    CHILDREN,  # right, left: a node, or the complement of a leaf
    CATEGORIES,  # begin and end in BITSETS, per node; both 0 for a numeric split
    BITSETS,
    FIRST_CATEGORICAL,  # per tree and one more
    CATEGORICAL_NODES,
    HAS_WORD,  # per tree: whether its decisions fit one word
    TABLES,  # TABLE_WIDTH numbers each
    PAIRS,  # PAIR_WIDTH numbers each
    PATHS,  # bits if met, and mask, of each path feature
    COLUMNS,  # the features a table adds to
    FIRST_EDGE,  # per tree and one more
    EDGES,  # EDGE_WIDTH numbers each
    QUADRATURES,  # per tree: number of nodes, start in `reals`; weights follow them
    # Starts in `reals`
    RANKED_THRESHOLDS,
    THRESHOLDS,
    LEAF_VALUES,
    EDGE_REALS,  # EDGE_REALS_WIDTH numbers each
) = range(31)
HEADER = 31

# A table in `plan`. A pair has the numbers of its lower, then of its upper table, then
# its number of chunks.
SHIFT = 0  # of a word, to the bit of the table's root
PATTERN_MASK = 1
N_BITS = 2
N_PATHS = 3
N_COLUMNS = 4
FIRST_PATH = 5
FIRST_COLUMN = 6
FIRST_REAL = 7
TREE = 8
TABLE_WIDTH = 9
N_CHUNKS = 18
PAIR_WIDTH = 19

# An edge in `plan`: all but the root's are counted from 1 within their tree.
PARENT_EDGE = 0
SAME_FEATURE_EDGE = 1  # the last edge above it on the same feature
EDGE_NODE = 2
EDGE_IS_LEFT = 3
EDGE_FEATURE = 4
EDGE_WIDTH = 5
EDGE_REALS_WIDTH = 3  # cover share before and after, leaf value

LANES = 8  # quadrature nodes taken together: one column of a chunk is one cache line
BLOCK = 512  # rows taken together
SMALLEST = 1e-300
ZERO = 1.0000000180025095e-35  # LightGBM's zero is a float32
CODES_END = 2147483648.0  # category codes are 31-bit
SPLIT_ON_ZERO = 1
SPLIT_ON_NAN = 2
SPLIT_ON_CATEGORY = 3


def explain_row(
    plan: Ints,
    reals: Floats,
    row: Floats,
    has_margin: bool,
    out: Floats,
) -> None:
    """Compute the contributions of one row, and its margin.

    Parameters
    ----------
    plan : ndarray of int
        Sections of whole numbers; see the module.
    reals : ndarray of float
        Thresholds, leaf values and tables.
    row : ndarray of float, shape (features,)
        NaN if missing.
    has_margin : bool
        Whether to compute the margin as well.
    out : ndarray of float, shape (features + 1, 1)
        Output: the contributions, then the margin (0 if not requested).
    """
    values = np.empty((plan[N_SLOTS], 1))
    words = np.empty((plan[N_TREES], 1), dtype=np.int64)
    entries = np.empty((1, plan[N_TABLES]), dtype=np.uint64)
    pair_entries = np.empty((2, plan[N_PAIRS]), dtype=np.uint64)
    _set_slot_values(plan, row.reshape((1, len(row))), 0, 1, values)
    out[:] = 0.0
    _set_words(plan, reals, values, words)
    if has_margin:
        for tree in range(plan[N_TREES]):
            _add_leaves(plan, reals, tree, words, values, 1, plan[N_FEATURES], out)
    _find_pairs(plan, reals, words, pair_entries)
    _add_tables(plan, reals, words, entries, out)
    for pair in range(plan[N_PAIRS]):
        lower_entry = pair_entries[0, pair]
        upper_entry = pair_entries[1, pair]
        _add_product(plan, reals, pair, lower_entry, upper_entry, 0, out)
    _add_walks(plan, reals, values, 1, out)


def explain_rows(
    plan: Ints,
    reals: Floats,
    rows: Floats,
    has_margin: bool,
    out: Floats,
) -> None:
    """Compute the contributions of rows, block by block.

    A table that is in the cache then serves a block of rows. Every sum is taken in the
    order of `explain_row`, so the two are equal bit for bit.

    Parameters
    ----------
    plan : ndarray of int
        Sections of whole numbers; see the module.
    reals : ndarray of float
        Thresholds, leaf values and tables.
    rows : ndarray of float, shape (n, features)
        NaN if missing.
    has_margin : bool
        Whether to compute the margins as well.
    out : ndarray of float, shape (n, features + 1)
        Output: the contributions, then the margin (0 if not requested).
    """
    width = min(len(rows), BLOCK)  # a few rows must not pay for clearing a block
    values = np.empty((plan[N_SLOTS], width))
    words = np.zeros((plan[N_TREES], width), dtype=np.int64)
    entries = np.empty((2, width), dtype=np.uint64)
    block = np.empty((plan[N_FEATURES] + 1, width))
    for start in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - start)
        _set_slot_values(plan, rows, start, n, values)
        block[:] = 0.0
        for tree in range(plan[N_TREES]):
            _set_words_of_block(plan, reals, tree, values, n, words)
            if has_margin:
                _add_leaves(
                    plan,
                    reals,
                    tree,
                    words,
                    values,
                    n,
                    plan[N_FEATURES],
                    block,
                )
        for table in range(plan[N_TABLES]):
            _add_table(plan, reals, table, words, n, entries, block)
        for pair in range(plan[N_PAIRS]):
            _add_pair(plan, reals, pair, words, n, entries, block)
        _add_walks(plan, reals, values, n, block)
        for row in range(n):
            for column in range(plan[N_FEATURES] + 1):
                out[start + row, column] = block[column, row]


def score_rows(
    plan: Ints,
    reals: Floats,
    rows: Floats,
    out: Floats,
) -> None:
    """Compute the margin of each row, without contributions.

    Parameters
    ----------
    plan : ndarray of int
        Sections of whole numbers; see the module.
    reals : ndarray of float
        Thresholds, leaf values and tables.
    rows : ndarray of float, shape (n, features)
        NaN if missing.
    out : ndarray of float, shape (1, n)
        Output.
    """
    width = min(len(rows), BLOCK)
    values = np.empty((plan[N_SLOTS], width))
    words = np.zeros((plan[N_TREES], width), dtype=np.int64)
    out[:] = 0.0
    for start in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - start)
        _set_slot_values(plan, rows, start, n, values)
        margins = out[:, start : start + n]
        for tree in range(plan[N_TREES]):
            _set_words_of_block(plan, reals, tree, values, n, words)
            _add_leaves(plan, reals, tree, words, values, n, 0, margins)


# --- Decisions


def _set_slot_values(
    plan: Ints,
    rows: Floats,
    start: int,
    n: int,
    values: Floats,
) -> None:
    """Set what each slot compares.

    -inf goes left and NaN right of every threshold; a category is its code, or -1.
    """
    for slot in range(plan[N_SLOTS]):
        at = plan[SLOTS] + 3 * slot
        feature = plan[at]
        kind = plan[at + 1]
        missing = -np.inf if plan[at + 2] else np.nan
        for row in range(n):
            value = rows[start + row, feature]
            if kind == SPLIT_ON_CATEGORY:
                if 0 <= value < CODES_END:
                    value = np.floor(value)
                else:
                    value = 0.0 if -1 < value < 0 else -1.0
            elif kind == SPLIT_ON_NAN:
                value = missing if np.isnan(value) else value
            else:
                value = 0.0 if np.isnan(value) else value
                if kind == SPLIT_ON_ZERO and abs(value) <= ZERO:
                    value = missing
            values[slot, row] = value


def _is_left(
    plan: Ints,
    reals: Floats,
    node: int,
    values: Floats,
    row: int,
) -> bool:
    """Return whether a row goes left at a node."""
    slot = plan[plan[NODE_SLOTS] + node]
    value = values[slot, row]
    span = plan[CATEGORIES] + 2 * node
    begin = plan[span]
    end = plan[span + 1]
    if begin == end:
        goes_left: bool = value <= reals[plan[THRESHOLDS] + node]
        return goes_left
    code = np.int64(value)
    if code < 0 or code >= 32 * (end - begin):
        return False
    word = plan[plan[BITSETS] + begin + (code >> 5)]
    is_member: bool = (word >> (code & 31)) & 1 == 1
    return is_member


def _set_words(
    plan: Ints,
    reals: Floats,
    values: Floats,
    words: Ints,
) -> None:
    """Set the decisions of one row at every tree.

    They start as if each slot's value were in the middle of its thresholds; then the
    splits between the middle and the value are turned over.
    """
    for tree in range(plan[N_TREES]):
        words[tree, 0] = plan[plan[MIDDLE] + tree]
    thresholds = plan[RANKED_THRESHOLDS]
    for slot in range(plan[N_SLOTS]):
        ranks = plan[FIRST_RANK] + slot
        first = plan[ranks]
        last = plan[ranks + 1]
        value = values[slot, 0]
        low = first
        high = last
        while low < high:  # the first threshold that sends the value left
            at = (low + high) >> 1
            if value <= reals[thresholds + at]:
                high = at
            else:
                low = at + 1
        middle = (first + last) >> 1
        for rank in range(min(low, middle), max(low, middle)):
            at = plan[RANKED] + 2 * rank
            words[plan[at], 0] ^= plan[at + 1]
    for tree in range(plan[N_TREES]):
        _set_categorical(plan, reals, tree, values, 1, words)


def _set_words_of_block(
    plan: Ints,
    reals: Floats,
    tree: int,
    values: Floats,
    n: int,
    words: Ints,
) -> None:
    """Set the decisions of a block of rows at one tree, node by node."""
    if plan[plan[HAS_WORD] + tree]:
        nodes = plan[FIRST_NODE] + tree
        first = plan[nodes]
        last = plan[nodes + 1]
        for row in range(n):
            words[tree, row] = 0
        for node in range(first, last):
            slot = plan[plan[NODE_SLOTS] + node]
            threshold = reals[plan[THRESHOLDS] + node]
            bit = 1 << (node - first)
            for row in range(n):
                words[tree, row] |= bit if values[slot, row] <= threshold else 0
        _set_categorical(plan, reals, tree, values, n, words)


def _set_categorical(
    plan: Ints,
    reals: Floats,
    tree: int,
    values: Floats,
    n: int,
    words: Ints,
) -> None:
    """Set the decisions of rows at a tree's categorical splits."""
    splits = plan[FIRST_CATEGORICAL] + tree
    first = plan[splits]
    last = plan[splits + 1]
    for index in range(first, last):
        node = plan[plan[CATEGORICAL_NODES] + index]
        bit = node - plan[plan[FIRST_NODE] + tree]
        if plan[plan[HAS_WORD] + tree]:
            for row in range(n):
                goes_left = np.int64(_is_left(plan, reals, node, values, row))
                words[tree, row] |= goes_left << bit


def _add_leaves(
    plan: Ints,
    reals: Floats,
    tree: int,
    words: Ints,
    values: Floats,
    n: int,
    column: int,
    out: Floats,
) -> None:
    """Add to each row's margin the value of its leaf: LightGBM's raw score, exactly."""
    first = plan[plan[FIRST_NODE] + tree]
    children = plan[CHILDREN]
    leaf_values = plan[LEAF_VALUES]
    has_node = first < plan[plan[FIRST_NODE] + tree + 1]
    root = first if has_node else ~(first + tree)
    has_word = plan[plan[HAS_WORD] + tree]
    for row in range(n):
        node = root
        word = words[tree, row]
        if has_word:
            while node >= 0:
                node = plan[children + 2 * node + ((word >> (node - first)) & 1)]
        else:
            while node >= 0:
                goes_left = np.int64(_is_left(plan, reals, node, values, row))
                node = plan[children + 2 * node + goes_left]
        out[column, row] += reals[leaf_values + ~node]


# --- Tables


def _add_tables(
    plan: Ints,
    reals: Floats,
    words: Ints,
    entries: Entries,
    out: Floats,
) -> None:
    """Add what the leaves below each table's root contribute to one row.

    All entries are found first, so that they are on their way to the cache when the
    sums are taken.
    """
    for table in range(plan[N_TABLES]):
        at = plan[TABLES] + TABLE_WIDTH * table
        n_columns = plan[at + N_COLUMNS]
        entries[0, table] = _entry_of(plan, at, words[plan[at + TREE], 0], n_columns)
        fetch_ahead(reals, entries[0, table])
        fetch_ahead(reals, entries[0, table] + np.uint64(n_columns - 1))
    for table in range(plan[N_TABLES]):
        at = plan[TABLES] + TABLE_WIDTH * table
        n_columns = plan[at + N_COLUMNS]
        first_column = plan[at + FIRST_COLUMN]
        entry = entries[0, table]
        for column in range(n_columns):
            feature = plan[first_column + column]
            out[feature, 0] += reals[entry + np.uint64(column)]


def _entry_of(
    plan: Ints,
    at: int,
    word: int,
    width: int,
) -> np.uint64:
    """Return where in `reals` a row's entry begins; the table's numbers are `at`."""
    n_bits = plan[at + N_BITS]
    first_path = plan[at + FIRST_PATH]
    pattern = (word >> plan[at + SHIFT]) & plan[at + PATTERN_MASK]
    for path in range(plan[at + N_PATHS]):
        condition = first_path + 2 * path
        bits_if_met = plan[condition]
        mask = plan[condition + 1]
        is_met = ((word ^ bits_if_met) & mask) == 0
        pattern |= np.int64(is_met) << (n_bits + path)
    return np.uint64(plan[at + FIRST_REAL] + pattern * width)


def _add_table(
    plan: Ints,
    reals: Floats,
    table: int,
    words: Ints,
    n: int,
    entries: Entries,
    out: Floats,
) -> None:
    """Add what the leaves below one table's root contribute to a block of rows."""
    at = plan[TABLES] + TABLE_WIDTH * table
    n_columns = plan[at + N_COLUMNS]
    first_column = plan[at + FIRST_COLUMN]
    _set_entries(plan, at, words, n, n_columns, 0, entries)
    for column in range(n_columns):
        feature = plan[first_column + column]
        for row in range(n):
            out[feature, row] += reals[entries[0, row] + np.uint64(column)]


def _set_entries(
    plan: Ints,
    at: int,
    words: Ints,
    n: int,
    width: int,
    side: int,
    entries: Entries,
) -> None:
    """Set `_entry_of` each row of a block; side 1 is a pair's upper table."""
    shift = plan[at + SHIFT]
    pattern_mask = plan[at + PATTERN_MASK]
    n_bits = plan[at + N_BITS]
    n_paths = plan[at + N_PATHS]
    first_path = plan[at + FIRST_PATH]
    first_real = plan[at + FIRST_REAL]
    tree = plan[at + TREE]
    for row in range(n):
        entries[side, row] = np.uint64((words[tree, row] >> shift) & pattern_mask)
    for path in range(n_paths):
        condition = first_path + 2 * path
        bits_if_met = plan[condition]
        mask = plan[condition + 1]
        bit = np.uint64(1 << (n_bits + path))
        for row in range(n):
            is_met = ((words[tree, row] ^ bits_if_met) & mask) == 0
            entries[side, row] |= bit if is_met else np.uint64(0)
    for row in range(n):
        offset = entries[side, row] * np.uint64(width)
        entries[side, row] = np.uint64(first_real) + offset


# --- Pairs of tables


def _find_pairs(
    plan: Ints,
    reals: Floats,
    words: Ints,
    entries: Entries,
) -> None:
    """Set where each pair's two entries begin for one row.

    They are on their way to the cache while the tables are summed.
    """
    for pair in range(plan[N_PAIRS]):
        at = plan[PAIRS] + PAIR_WIDTH * pair
        n_chunks = plan[at + N_CHUNKS]
        for side in range(2):
            width = n_chunks * LANES * (plan[at + N_COLUMNS] + 1)
            entries[side, pair] = _entry_of(plan, at, words[plan[at + TREE], 0], width)
            for offset in range(0, width, LANES):
                fetch_ahead(reals, entries[side, pair] + np.uint64(offset))
            at += TABLE_WIDTH


def _add_pair(
    plan: Ints,
    reals: Floats,
    pair: int,
    words: Ints,
    n: int,
    entries: Entries,
    out: Floats,
) -> None:
    """Add what the leaves below the root of a pair contribute to a block of rows."""
    lower = plan[PAIRS] + PAIR_WIDTH * pair
    upper = lower + TABLE_WIDTH
    n_quadrature = plan[lower + N_CHUNKS] * LANES
    lower_width = n_quadrature * (plan[lower + N_COLUMNS] + 1)
    upper_width = n_quadrature * (plan[upper + N_COLUMNS] + 1)
    _set_entries(plan, lower, words, n, lower_width, 0, entries)
    _set_entries(plan, upper, words, n, upper_width, 1, entries)
    for row in range(n):
        _add_product(plan, reals, pair, entries[0, row], entries[1, row], row, out)


def fetch_ahead(reals: Floats, at: np.uint64) -> None:
    """Have the processor fetch a cache line that is needed soon.

    Compiled to the processor's own instruction; plain Python does nothing.
    """


def _add_product(
    plan: Ints,
    reals: Floats,
    pair: int,
    lower_entry: np.uint64,
    upper_entry: np.uint64,
    row: int,
    out: Floats,
) -> None:
    """Add the product of a pair's two entries to the contributions.

    Per chunk of quadrature nodes, an entry holds the product over the table's
    features, then each feature's contribution.
    """
    lower = plan[PAIRS] + PAIR_WIDTH * pair
    upper = lower + TABLE_WIDTH
    n_lower = plan[lower + N_COLUMNS]
    lower_columns = plan[lower + FIRST_COLUMN]
    n_upper = plan[upper + N_COLUMNS]
    upper_columns = plan[upper + FIRST_COLUMN]
    a = lower_entry
    b = upper_entry
    for _ in range(plan[lower + N_CHUNKS]):
        for column in range(n_lower):
            contribution = _product(reals, b, a + np.uint64(LANES * (column + 1)))
            out[plan[lower_columns + column], row] += contribution
        for column in range(n_upper):
            contribution = _product(reals, a, b + np.uint64(LANES * (column + 1)))
            out[plan[upper_columns + column], row] += contribution
        a += np.uint64(LANES * (n_lower + 1))
        b += np.uint64(LANES * (n_upper + 1))


def _product(
    reals: Floats,
    a: np.uint64,
    b: np.uint64,
) -> float:
    """Return the sum of eight products, in an order that halves the lanes.

    The compiler then takes four, two, one of them at once.
    """
    p0 = reals[a] * reals[b]
    p1 = reals[a + np.uint64(1)] * reals[b + np.uint64(1)]
    p2 = reals[a + np.uint64(2)] * reals[b + np.uint64(2)]
    p3 = reals[a + np.uint64(3)] * reals[b + np.uint64(3)]
    p4 = reals[a + np.uint64(4)] * reals[b + np.uint64(4)]
    p5 = reals[a + np.uint64(5)] * reals[b + np.uint64(5)]
    p6 = reals[a + np.uint64(6)] * reals[b + np.uint64(6)]
    p7 = reals[a + np.uint64(7)] * reals[b + np.uint64(7)]
    total: float = ((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7))
    return total


# --- Walks


def _add_walks(
    plan: Ints,
    reals: Floats,
    values: Floats,
    n_rows: int,
    out: Floats,
) -> None:
    """Add what the leaves outside tables contribute, down and up their edges."""
    if plan[N_EDGES]:
        goes_left = np.empty(plan[N_NODES], dtype=np.int64)
        is_met = np.empty(plan[N_EDGES] + 1, dtype=np.int64)
        work = np.empty((2 * plan[N_EDGES] + 1, plan[N_QUADRATURE]))
        for tree in range(plan[N_TREES]):
            nodes = plan[FIRST_NODE] + tree
            first = plan[nodes]
            last = plan[nodes + 1]
            edges = plan[FIRST_EDGE] + tree
            if plan[edges] < plan[edges + 1]:
                for row in range(n_rows):
                    for node in range(first, last):
                        is_row_left = _is_left(plan, reals, node, values, row)
                        goes_left[node - first] = is_row_left
                    _walk_down(plan, reals, tree, goes_left, work, is_met)
                    _walk_up(plan, reals, tree, work, is_met, row, out)


def _walk_down(
    plan: Ints,
    reals: Floats,
    tree: int,
    goes_left: Ints,
    work: Floats,
    is_met: Ints,
) -> None:
    """Compute the products at each edge.

    In `work`, row 0 is the root's; edge e has row 1 + e going down and row
    N_EDGES + 1 + e coming up.
    """
    edges = plan[FIRST_EDGE] + tree
    first = plan[edges]
    last = plan[edges + 1]
    quadrature = plan[QUADRATURES] + 2 * tree
    n = plan[quadrature]
    t = plan[quadrature + 1]
    up = plan[N_EDGES] + 1
    work[0, :] = 1.0
    is_met[0] = 1
    for edge in range(last - first):
        at = plan[EDGES] + EDGE_WIDTH * (first + edge)
        real = plan[EDGE_REALS] + EDGE_REALS_WIDTH * (first + edge)
        parent = plan[at + PARENT_EDGE]
        share_before = reals[real]
        share = reals[real + 1]
        leaf_value = reals[real + 2]
        was_met = is_met[plan[at + SAME_FEATURE_EDGE]]
        is_edge_taken = goes_left[plan[at + EDGE_NODE]] == plan[at + EDGE_IS_LEFT]
        is_still_met = was_met & is_edge_taken
        is_met[edge + 1] = is_still_met
        for k in range(n):
            rest = 1.0 - reals[t + k]
            old = was_met * reals[t + k] + share_before * rest
            new = is_still_met * reals[t + k] + share * rest
            product_below = work[parent, k] * new / max(old, SMALLEST)
            work[edge + 1, k] = product_below
            work[up + edge, k] = product_below * leaf_value


def _walk_up(
    plan: Ints,
    reals: Floats,
    tree: int,
    work: Floats,
    is_met: Ints,
    row: int,
    out: Floats,
) -> None:
    """Sum the leaves' products from the bottom up.

    Each edge adds to its feature what its condition changed.
    """
    edges = plan[FIRST_EDGE] + tree
    first = plan[edges]
    last = plan[edges + 1]
    quadrature = plan[QUADRATURES] + 2 * tree
    n = plan[quadrature]
    t = plan[quadrature + 1]
    up = plan[N_EDGES] + 1
    for edge in range(last - first - 1, -1, -1):
        at = plan[EDGES] + EDGE_WIDTH * (first + edge)
        real = plan[EDGE_REALS] + EDGE_REALS_WIDTH * (first + edge)
        parent = plan[at + PARENT_EDGE]
        share_before = reals[real]
        share = reals[real + 1]
        is_still_met = is_met[edge + 1]
        if parent:
            for k in range(n):
                work[up + parent - 1, k] += work[up + edge, k]
        if is_met[plan[at + SAME_FEATURE_EDGE]]:
            contribution = 0.0
            for k in range(n):
                rest = 1.0 - reals[t + k]
                old_factor = reals[t + k] + share_before * rest
                old = (1.0 - share_before) / old_factor
                if is_still_met:
                    new_factor = reals[t + k] + share * rest
                    new = (1.0 - share) / new_factor
                else:
                    new = -1.0 / rest
                weight = reals[t + n + k]
                contribution += weight * work[up + edge, k] * (new - old)
            out[plan[at + EDGE_FEATURE], row] += contribution
