"""Products and parts of attention in numpy are the products that their operators say."""

from __future__ import annotations

import numpy as np

from simulator.calibration.probes import numpy_products
from simulator.calibration.probes.numpy_vector import softmax
from simulator.calibration.probes.registry import Machine
from workloads.lowering.layers import LayerWriter
from workloads.operators import OpKind

MACHINE = Machine("cpu", 2, 256e3, 50e6, ("fp32",))


def test_products_are_activations_times_transposed_weights() -> None:
    case = next(iter(numpy_products.cases(MACHINE)))
    x, weights = numpy_products.operands(MACHINE, case.operator)
    np.testing.assert_allclose(case.prepare()(), x @ weights[0].T, rtol=1e-5)


def test_parts_together_are_attention_with_shared_keys() -> None:
    parts = [c for c in numpy_products.attention(MACHINE) if c.operator.batch == 16 or c.variant]
    scores = next(c for c in parts if c.operator.name == "attention.qk")
    values = next(c for c in parts if c.operator.name == "attention.pv")
    q, k = scores.prepare().args  # type: ignore[attr-defined]
    _, v = values.prepare().args  # type: ignore[attr-defined]
    assert q.shape[1] * q.shape[2] == 16
    assert k.shape[2] == v.shape[2] == 1
    found = softmax(q @ k) @ v
    for head in range(q.shape[2]):
        wanted = softmax(q[0, 1, head] @ k[0, 1, 0]) @ v[0, 1, 0]
        np.testing.assert_allclose(found[0, 1, head], wanted, rtol=1e-4, atol=1e-6)


def test_operators_are_those_of_attention_that_is_not_fused() -> None:
    names = {case.operator.name for case in numpy_products.attention(MACHINE)}
    assert names == {"attention.qk", "attention.softmax", "attention.pv"}
    source = LayerWriter._unfused.__code__.co_consts
    assert names <= {text for text in source if isinstance(text, str)}
    for case in numpy_products.attention(MACHINE):
        o = case.operator
        assert o.kind == (OpKind.SOFTMAX if o.name == "attention.softmax" else OpKind.BATCHED_GEMM)
        assert o.weight_bytes == 0.0
