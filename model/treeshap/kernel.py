"""The loops of exact TreeSHAP: plain functions over two packed arrays, compiled together by numba.

`plan` holds whole numbers in sections, each beginning where its header says; `reals` the thresholds,
leaf values, tables. They are laid out by `training.treeshap`, which has the mathematics too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Header of `plan`: counts, then the start of each section.
N_FEATURES, N_TREES, N_SLOTS, N_TABLES, N_PAIRS, N_NODES, N_QUADRATURE, N_EDGES = range(
    8
)
(
    SLOTS,  # feature, kind, is_default_left
    FIRST_RANK,  # per slot and one more
    RANKED,  # tree and bit of each numeric split, by slot and threshold
    MIDDLE,  # per tree: its decisions where every slot is at its middle rank
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
    PATHS,  # wanted bits and mask of each path feature
    COLUMNS,  # the features a table adds to
    FIRST_EDGE,  # per tree and one more
    EDGES,  # EDGE_WIDTH numbers each
    QUADRATURES,  # per tree: how many nodes, and where they are in reals (weights behind them)
    # Starts in `reals`
    RANKED_THRESHOLDS,
    THRESHOLDS,
    LEAF_VALUES,
    EDGE_REALS,  # cover share before and after, leaf value
) = range(8, 31)
HEADER = 31
TABLE_WIDTH = 9  # shift, mask, bits, path features, columns, start in PATHS, in COLUMNS, in reals, tree
PAIR_WIDTH = 19  # a table's numbers twice, of the lower and of the upper table, and the chunks of quadrature nodes
EDGE_WIDTH = 5  # parent edge, last edge on the same feature, node, is_left, feature
LANES = (
    8  # quadrature nodes that are taken together: one of its columns is one cache line
)
BLOCK = 512
SMALLEST = 1e-300
ZERO = 1.0000000180025095e-35  # LightGBM's zero is a float32


def explain_row(plan: Any, reals: Any, row: Any, has_margin: Any, out: Any) -> None:
    """Fill `out`, shape (features + 1, 1), with one row's contributions, and its margin behind them if asked."""
    values, words = (
        np.empty((plan[N_SLOTS], 1)),
        np.empty((plan[N_TREES], 1), dtype=np.int64),
    )
    entries, pair_entries = (
        np.empty((1, plan[N_TABLES]), dtype=np.uint64),
        np.empty((2, plan[N_PAIRS]), dtype=np.uint64),
    )
    slot_values(plan, row.reshape((1, len(row))), 0, 1, values)
    out[:] = 0.0
    set_words(plan, reals, values, words)
    if has_margin:
        for tree in range(plan[N_TREES]):
            add_leaves(plan, reals, tree, words, values, 1, plan[N_FEATURES], out)
    find_pairs(plan, reals, words, pair_entries)
    add_tables(plan, reals, words, entries, out)
    for pair in range(plan[N_PAIRS]):
        add_product(
            plan, reals, pair, pair_entries[0, pair], pair_entries[1, pair], 0, out
        )
    add_walks(plan, reals, values, 1, out)


def explain_rows(plan: Any, reals: Any, rows: Any, has_margin: Any, out: Any) -> None:
    """Fill `out`, shape (n, features + 1), block by block: a table that is in the cache serves a block of rows.

    Every sum is taken in the order of `explain_row`: the two are equal bit for bit.
    """
    wide = min(len(rows), BLOCK)  # a few rows must not pay for clearing a block
    values, words = (
        np.empty((plan[N_SLOTS], wide)),
        np.zeros((plan[N_TREES], wide), dtype=np.int64),
    )
    entries, block = (
        np.empty((2, wide), dtype=np.uint64),
        np.empty((plan[N_FEATURES] + 1, wide)),
    )
    for start in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - start)
        slot_values(plan, rows, start, n, values)
        block[:] = 0.0
        for tree in range(plan[N_TREES]):
            set_words_of_block(plan, reals, tree, values, n, words)
            if has_margin:
                add_leaves(plan, reals, tree, words, values, n, plan[N_FEATURES], block)
        for table in range(plan[N_TABLES]):
            add_table(plan, reals, table, words, n, entries, block)
        for pair in range(plan[N_PAIRS]):
            add_pair(plan, reals, pair, words, n, entries, block)
        add_walks(plan, reals, values, n, block)
        for row in range(n):
            for column in range(plan[N_FEATURES] + 1):
                out[start + row, column] = block[column, row]


def score_rows(plan: Any, reals: Any, rows: Any, out: Any) -> None:
    """Fill `out`, shape (1, n), with the margin of each row alone."""
    wide = min(len(rows), BLOCK)
    values, words = (
        np.empty((plan[N_SLOTS], wide)),
        np.zeros((plan[N_TREES], wide), dtype=np.int64),
    )
    out[:] = 0.0
    for start in range(0, len(rows), BLOCK):
        n = min(BLOCK, len(rows) - start)
        slot_values(plan, rows, start, n, values)
        for tree in range(plan[N_TREES]):
            set_words_of_block(plan, reals, tree, values, n, words)
            add_leaves(
                plan, reals, tree, words, values, n, 0, out[:, start : start + n]
            )


def slot_values(plan: Any, rows: Any, start: Any, n: Any, values: Any) -> None:
    """What each slot compares: -inf goes left and NaN right of every threshold; a category's code, else -1."""
    for slot in range(plan[N_SLOTS]):
        at = plan[SLOTS] + 3 * slot
        feature, kind, missing = (
            plan[at],
            plan[at + 1],
            -np.inf if plan[at + 2] else np.nan,
        )
        for row in range(n):
            value = rows[start + row, feature]
            if kind == 3:
                value = (
                    np.floor(value)
                    if 0 <= value < 2147483648.0
                    else (0.0 if -1 < value < 0 else -1.0)
                )
            elif kind == 2:
                value = missing if np.isnan(value) else value
            else:
                value = 0.0 if np.isnan(value) else value
                if kind == 1 and abs(value) <= ZERO:
                    value = missing
            values[slot, row] = value


def is_left(plan: Any, reals: Any, node: Any, values: Any, row: Any) -> Any:
    """Whether a row goes left at a node."""
    value = values[plan[plan[NODE_SLOTS] + node], row]
    begin, end = (
        plan[plan[CATEGORIES] + 2 * node],
        plan[plan[CATEGORIES] + 2 * node + 1],
    )
    if begin == end:
        return value <= reals[plan[THRESHOLDS] + node]
    code = np.int64(value)
    return (
        0 <= code < 32 * (end - begin)
        and (plan[plan[BITSETS] + begin + (code >> 5)] >> (code & 31)) & 1 == 1
    )


def set_words(plan: Any, reals: Any, values: Any, words: Any) -> None:
    """The decisions of one row at every tree, 1 for left, the root in bit 0.

    They start where each slot's value is in the middle of its thresholds; the splits between the middle
    and the value are turned over.
    """
    for tree in range(plan[N_TREES]):
        words[tree, 0] = plan[plan[MIDDLE] + tree]
    thresholds = plan[RANKED_THRESHOLDS]
    for slot in range(plan[N_SLOTS]):
        first, last, value = (
            plan[plan[FIRST_RANK] + slot],
            plan[plan[FIRST_RANK] + slot + 1],
            values[slot, 0],
        )
        low, high = first, last
        while low < high:  # the first threshold that sends the value left
            at = (low + high) >> 1
            if value <= reals[thresholds + at]:
                high = at
            else:
                low = at + 1
        middle = (first + last) >> 1
        for place in range(min(low, middle), max(low, middle)):
            at = plan[RANKED] + 2 * place
            words[plan[at], 0] ^= plan[at + 1]
    for tree in range(plan[N_TREES]):
        set_categorical(plan, reals, tree, values, 1, words)


def set_words_of_block(
    plan: Any, reals: Any, tree: Any, values: Any, n: Any, words: Any
) -> None:
    """The decisions of a block of rows at one tree, node by node."""
    if plan[plan[HAS_WORD] + tree]:
        first, last = plan[plan[FIRST_NODE] + tree], plan[plan[FIRST_NODE] + tree + 1]
        for row in range(n):
            words[tree, row] = 0
        for node in range(first, last):
            slot, threshold, bit = (
                plan[plan[NODE_SLOTS] + node],
                reals[plan[THRESHOLDS] + node],
                1 << (node - first),
            )
            for row in range(n):
                words[tree, row] |= bit if values[slot, row] <= threshold else 0
        set_categorical(plan, reals, tree, values, n, words)


def set_categorical(
    plan: Any, reals: Any, tree: Any, values: Any, n: Any, words: Any
) -> None:
    """The decisions of rows at a tree's categorical splits."""
    for place in range(
        plan[plan[FIRST_CATEGORICAL] + tree], plan[plan[FIRST_CATEGORICAL] + tree + 1]
    ):
        node = plan[plan[CATEGORICAL_NODES] + place]
        bit = node - plan[plan[FIRST_NODE] + tree]
        if plan[plan[HAS_WORD] + tree]:
            for row in range(n):
                words[tree, row] |= (
                    np.int64(is_left(plan, reals, node, values, row)) << bit
                )


def add_leaves(
    plan: Any,
    reals: Any,
    tree: Any,
    words: Any,
    values: Any,
    n: Any,
    column: Any,
    out: Any,
) -> None:
    """Add the value of the leaf each row falls into to its margin: LightGBM's predict, bit for bit."""
    first, children, leaf_values = (
        plan[plan[FIRST_NODE] + tree],
        plan[CHILDREN],
        plan[LEAF_VALUES],
    )
    root = (
        first if first < plan[plan[FIRST_NODE] + tree + 1] else ~(first + tree)
    )  # a tree of one leaf
    has_word = plan[plan[HAS_WORD] + tree]
    for row in range(n):
        node, word = root, words[tree, row]
        if has_word:
            while node >= 0:
                node = plan[children + 2 * node + ((word >> (node - first)) & 1)]
        else:
            while node >= 0:
                node = plan[
                    children
                    + 2 * node
                    + np.int64(is_left(plan, reals, node, values, row))
                ]
        out[column, row] += reals[leaf_values + ~node]


def add_tables(plan: Any, reals: Any, words: Any, entries: Any, out: Any) -> None:
    """Add what every leaf below a table's root contributes: one row of each table. First all rows, then all sums."""
    for table in range(plan[N_TABLES]):
        at = plan[TABLES] + TABLE_WIDTH * table
        entries[0, table] = entry_of(plan, at, words[plan[at + 8], 0], plan[at + 4])
        fetch_ahead(reals, entries[0, table])
        fetch_ahead(reals, entries[0, table] + np.uint64(plan[at + 4] - 1))
    for table in range(plan[N_TABLES]):
        at = plan[TABLES] + TABLE_WIDTH * table
        n_columns, column, entry = plan[at + 4], plan[at + 6], entries[0, table]
        for place in range(n_columns):
            out[plan[column + place], 0] += reals[entry + np.uint64(place)]


def entry_of(plan: Any, at: Any, word: Any, width: Any) -> Any:
    """Where in `reals` a row's entry of a table begins; `at` is where the table's numbers are."""
    bits, n_paths, path = plan[at + 2], plan[at + 3], plan[at + 5]
    pattern = (word >> plan[at]) & plan[at + 1]
    for place in range(n_paths):
        is_met = ((word ^ plan[path + 2 * place]) & plan[path + 2 * place + 1]) == 0
        pattern |= np.int64(is_met) << (bits + place)
    return np.uint64(plan[at + 7] + pattern * width)


def add_table(
    plan: Any, reals: Any, table: Any, words: Any, n: Any, entries: Any, out: Any
) -> None:
    """`add_tables` of every row of a block, for one table."""
    at = plan[TABLES] + TABLE_WIDTH * table
    n_columns, column = plan[at + 4], plan[at + 6]
    set_entries(plan, at, words, n, n_columns, 0, entries)
    for place in range(n_columns):
        feature = plan[column + place]
        for row in range(n):
            out[feature, row] += reals[entries[0, row] + np.uint64(place)]


def set_entries(
    plan: Any, at: Any, words: Any, n: Any, width: Any, which: Any, entries: Any
) -> None:
    """`entry_of` each row of a block."""
    shift, mask, bits, n_paths = plan[at], plan[at + 1], plan[at + 2], plan[at + 3]
    path, first, tree = plan[at + 5], plan[at + 7], plan[at + 8]
    for row in range(n):
        entries[which, row] = np.uint64((words[tree, row] >> shift) & mask)
    for place in range(n_paths):
        wanted, among, bit = (
            plan[path + 2 * place],
            plan[path + 2 * place + 1],
            np.uint64(1 << (bits + place)),
        )
        for row in range(n):
            entries[which, row] |= (
                bit if ((words[tree, row] ^ wanted) & among) == 0 else np.uint64(0)
            )
    for row in range(n):
        entries[which, row] = np.uint64(first) + entries[which, row] * np.uint64(width)


def find_pairs(plan: Any, reals: Any, words: Any, entries: Any) -> None:
    """Where each pair's two entries begin, for one row; they are under way to the cache while tables are summed."""
    for pair in range(plan[N_PAIRS]):
        at = plan[PAIRS] + PAIR_WIDTH * pair
        for which in range(2):
            width = (
                plan[plan[PAIRS] + PAIR_WIDTH * pair + 2 * TABLE_WIDTH]
                * LANES
                * (plan[at + 4] + 1)
            )
            entries[which, pair] = entry_of(plan, at, words[plan[at + 8], 0], width)
            for place in range(0, width, LANES):
                fetch_ahead(reals, entries[which, pair] + np.uint64(place))
            at += TABLE_WIDTH


def add_pair(
    plan: Any, reals: Any, pair: Any, words: Any, n: Any, entries: Any, out: Any
) -> None:
    """Add what every leaf below the root of a pair contributes to a block of rows."""
    at = plan[PAIRS] + PAIR_WIDTH * pair
    upper_at, rows = at + TABLE_WIDTH, plan[at + 2 * TABLE_WIDTH] * LANES
    set_entries(plan, at, words, n, rows * (plan[at + 4] + 1), 0, entries)
    set_entries(plan, upper_at, words, n, rows * (plan[upper_at + 4] + 1), 1, entries)
    for row in range(n):
        add_product(plan, reals, pair, entries[0, row], entries[1, row], row, out)


def fetch_ahead(reals: Any, at: Any) -> None:
    """Have the processor fetch a cache line that is needed soon; compiled to its instruction for that."""


def add_product(
    plan: Any, reals: Any, pair: Any, a: Any, b: Any, row: Any, out: Any
) -> None:
    """Add the product of two rows of a pair to the contributions.

    A row has, per chunk of quadrature nodes, the product over the table's features and then each
    feature's contribution.
    """
    at = plan[PAIRS] + PAIR_WIDTH * pair
    upper_at = at + TABLE_WIDTH
    n_lower, lower, n_upper, upper = (
        plan[at + 4],
        plan[at + 6],
        plan[upper_at + 4],
        plan[upper_at + 6],
    )
    for _ in range(plan[at + 2 * TABLE_WIDTH]):
        for place in range(n_lower):
            out[plan[lower + place], row] += product(
                reals, b, a + np.uint64(LANES * (place + 1))
            )
        for place in range(n_upper):
            out[plan[upper + place], row] += product(
                reals, a, b + np.uint64(LANES * (place + 1))
            )
        a += np.uint64(LANES * (n_lower + 1))
        b += np.uint64(LANES * (n_upper + 1))


def product(reals: Any, a: Any, b: Any) -> Any:
    """The sum of eight products, in an order that halves the lanes: the compiler takes four, two, one at once."""
    p0 = reals[a] * reals[b]
    p1 = reals[a + np.uint64(1)] * reals[b + np.uint64(1)]
    p2 = reals[a + np.uint64(2)] * reals[b + np.uint64(2)]
    p3 = reals[a + np.uint64(3)] * reals[b + np.uint64(3)]
    p4 = reals[a + np.uint64(4)] * reals[b + np.uint64(4)]
    p5 = reals[a + np.uint64(5)] * reals[b + np.uint64(5)]
    p6 = reals[a + np.uint64(6)] * reals[b + np.uint64(6)]
    p7 = reals[a + np.uint64(7)] * reals[b + np.uint64(7)]
    return ((p0 + p4) + (p2 + p6)) + ((p1 + p5) + (p3 + p7))


def add_walks(plan: Any, reals: Any, values: Any, n_rows: Any, out: Any) -> None:
    """Add what the leaves outside tables contribute, by quadrature down and up their edges."""
    if plan[N_EDGES]:
        goes_left, is_met = (
            np.empty(plan[N_NODES], dtype=np.int64),
            np.empty(plan[N_EDGES] + 1, dtype=np.int64),
        )
        work = np.empty((2 * plan[N_EDGES] + 1, plan[N_QUADRATURE]))
        for tree in range(plan[N_TREES]):
            first, last = (
                plan[plan[FIRST_NODE] + tree],
                plan[plan[FIRST_NODE] + tree + 1],
            )
            if plan[plan[FIRST_EDGE] + tree] < plan[plan[FIRST_EDGE] + tree + 1]:
                for row in range(n_rows):
                    for node in range(first, last):
                        goes_left[node - first] = is_left(
                            plan, reals, node, values, row
                        )
                    walk_down(plan, reals, tree, goes_left, work, is_met)
                    walk_up(plan, reals, tree, work, is_met, row, out)


def walk_down(
    plan: Any, reals: Any, tree: Any, goes_left: Any, work: Any, is_met: Any
) -> None:
    """The products at each edge: edge e has row 1 + e going down, row N_EDGES + 1 + e coming up; the root row 0."""
    first, last = plan[plan[FIRST_EDGE] + tree], plan[plan[FIRST_EDGE] + tree + 1]
    n, t, up = (
        plan[plan[QUADRATURES] + 2 * tree],
        plan[plan[QUADRATURES] + 2 * tree + 1],
        plan[N_EDGES] + 1,
    )
    work[0, :] = 1.0
    is_met[0] = 1
    for edge in range(last - first):
        at, real = (
            plan[EDGES] + EDGE_WIDTH * (first + edge),
            plan[EDGE_REALS] + 3 * (first + edge),
        )
        parent, before_share, share, value = (
            plan[at],
            reals[real],
            reals[real + 1],
            reals[real + 2],
        )
        was = is_met[plan[at + 1]]
        now = was & (goes_left[plan[at + 2]] == plan[at + 3])
        is_met[edge + 1] = now
        for k in range(n):
            old = was * reals[t + k] + before_share * (1.0 - reals[t + k])
            new = now * reals[t + k] + share * (1.0 - reals[t + k])
            work[edge + 1, k] = work[parent, k] * new / max(old, SMALLEST)
            work[up + edge, k] = work[edge + 1, k] * value


def walk_up(
    plan: Any, reals: Any, tree: Any, work: Any, is_met: Any, row: Any, out: Any
) -> None:
    """Sum the leaves' products from the bottom, and give each edge's feature what its condition changed."""
    first, last = plan[plan[FIRST_EDGE] + tree], plan[plan[FIRST_EDGE] + tree + 1]
    n, t, up = (
        plan[plan[QUADRATURES] + 2 * tree],
        plan[plan[QUADRATURES] + 2 * tree + 1],
        plan[N_EDGES] + 1,
    )
    for edge in range(last - first - 1, -1, -1):
        at, real = (
            plan[EDGES] + EDGE_WIDTH * (first + edge),
            plan[EDGE_REALS] + 3 * (first + edge),
        )
        parent, before_share, share, now = (
            plan[at],
            reals[real],
            reals[real + 1],
            is_met[edge + 1],
        )
        if parent:
            for k in range(n):
                work[up + parent - 1, k] += work[up + edge, k]
        if is_met[plan[at + 1]]:
            found = 0.0
            for k in range(n):
                rest = 1.0 - reals[t + k]
                old = (1.0 - before_share) / (reals[t + k] + before_share * rest)
                new = (
                    (1.0 - share) / (reals[t + k] + share * rest)
                    if now
                    else -1.0 / rest
                )
                found += reals[t + n + k] * work[up + edge, k] * (new - old)
            out[plan[at + 4], row] += found
