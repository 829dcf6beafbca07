"""Loops that fill tables for TreeSHAP: plain functions, compiled by numba."""

from __future__ import annotations

import numpy as np

from obligor.arrays import Floats, Ints

MOST_FEATURES_ON_PATH = 64
# Columns of `conditions`
FEATURE = 0
MET_BITS = 1
MASK = 2
COLUMN = 3


def fill_table(
    root: int,
    leaves: Ints,
    bits: int,
    paths: Ints,
    columns: Ints,
    up: Ints,
    share: Floats,
    values: Floats,
    quadrature: Floats,
    table: Floats,
) -> None:
    """Fill one table: what the leaves below its root contribute, at each node.

    Features that are not among the columns belong to another table.

    Parameters
    ----------
    root : int
        The vertex (nodes first, then leaves) above all leaves of the table.
    leaves : ndarray of int, shape (2,)
        The first leaf and the one after the last.
    bits : int
        Splits below the root; they are the lowest bits of a pattern.
    paths : ndarray of int
        Features above the root; one bit each tells whether their conditions are met.
    columns : ndarray of int
        Features the table adds to, rising.
    up : ndarray of int, shape (vertices, 3)
        Parent, is_left and the parent's feature.
    share : ndarray of float, shape (vertices,)
        Share of the parent's training rows that came this way, in [0, 1].
    values : ndarray of float, shape (leaves of the forest,)
        Leaf values.
    quadrature : ndarray of float, shape (2, nodes)
        Nodes and weights.
    table : ndarray of float, shape (patterns, nodes, 1 + columns)
        Output: the product over all features, then each column's contribution.
    """
    first_leaf_vertex = len(up) - len(values)
    conditions = np.empty((MOST_FEATURES_ON_PATH, 4), dtype=np.int64)
    z = np.empty(MOST_FEATURES_ON_PATH)
    for leaf in range(leaves[0], leaves[1]):
        depth = collect_conditions(
            first_leaf_vertex + leaf,
            root,
            bits,
            paths,
            columns,
            up,
            share,
            conditions,
            z,
        )
        products = leaf_table(values[leaf], z[:depth], quadrature)
        for pattern in range(len(table)):
            met = np.int64(0)
            for j in range(depth):
                unmet = (pattern ^ conditions[j, MET_BITS]) & conditions[j, MASK]
                met |= np.int64(unmet == 0) << j
            for k in range(quadrature.shape[1]):
                table[pattern, k, 0] += products[met, k, 0]
                for j in range(depth):
                    column = 1 + conditions[j, COLUMN]
                    table[pattern, k, column] += products[met, k, 1 + j]


def collect_conditions(
    vertex: int,
    root: int,
    bits: int,
    paths: Ints,
    columns: Ints,
    up: Ints,
    share: Floats,
    conditions: Ints,
    z: Floats,
) -> int:
    """Collect the conditions above a leaf, one row per distinct feature.

    Parameters
    ----------
    vertex : int
        The leaf.
    root, bits, paths, columns, up, share
        As in `fill_table`.
    conditions : ndarray of int, shape (features, 4)
        Output: feature, bits of a pattern if all are met, their mask, its column.
    z : ndarray of float, shape (features,)
        Output: share of the training rows that met all conditions on the feature.

    Returns
    -------
    int
        Number of distinct features.
    """
    depth = 0
    below = np.int64(vertex)
    while up[below, 0] >= 0:
        parent = up[below, 0]
        feature = up[below, 2]
        column = np.searchsorted(columns, feature)
        if column < len(columns) and columns[column] == feature:
            index = 0
            while index < depth and conditions[index, FEATURE] != feature:
                index += 1
            if index == depth:
                conditions[index, FEATURE] = feature
                conditions[index, MET_BITS] = 0
                conditions[index, MASK] = 0
                conditions[index, COLUMN] = column
                z[index] = 1.0
                depth += 1
            z[index] *= share[below]
            if parent >= root:
                bit = parent - root
                met = up[below, 1]
            else:
                bit = bits + np.searchsorted(paths, feature)
                met = 1
            conditions[index, MASK] |= 1 << bit
            conditions[index, MET_BITS] |= met << bit
        below = parent
    return depth


def leaf_table(
    value: float,
    z: Floats,
    quadrature: Floats,
) -> Floats:
    """Return what one leaf contributes for every pattern of met conditions.

    Parameters
    ----------
    value : float
        The leaf's value.
    z : ndarray of float, shape (d,)
        Per feature, the share of training rows that met all its conditions.
    quadrature : ndarray of float, shape (2, nodes)
        Nodes and weights.

    Returns
    -------
    ndarray of float, shape (2**d, nodes, 1 + d)
        The weighted product over all features, then each feature's contribution. Bit
        j of a pattern tells whether all conditions on feature j are met.
    """
    d = len(z)
    n_nodes = quadrature.shape[1]
    products = np.empty((1 << d, n_nodes, d + 1))
    before = np.empty(d + 1)
    for met in range(1 << d):
        for k in range(n_nodes):
            t = quadrature[0, k]
            after = 1.0
            before[0] = quadrature[1, k] * value
            for j in range(d):
                factor = ((met >> j) & 1) * t + z[j] * (1.0 - t)
                before[j + 1] = before[j] * factor
            products[met, k, 0] = before[d]
            for j in range(d - 1, -1, -1):
                o = (met >> j) & 1
                products[met, k, 1 + j] = (o - z[j]) * before[j] * after
                after *= o * t + z[j] * (1.0 - t)
    return products
