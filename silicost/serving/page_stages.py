"""The pipeline of a served run as a graph, for its page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.numbers import quantity, share
from reports.serving import Arrow, Node
from silicost.serving.page_pools import bandwidth_in_words, machines_of

if TYPE_CHECKING:
    from silicost.serving.answer import Answer
    from silicost.serving.pools import Pool
    from silicost.serving.stages import Stage


def graph_of(answer: Answer) -> tuple[tuple[Node, ...], tuple[Arrow, ...]]:
    """Stages as nodes, one whose answer another pool gives as two; arrows with what links carry."""
    nodes: list[Node] = []
    arrows: list[Arrow] = []
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    said = {table.name for table in answer.fleet.table.stage}
    for stage in answer.fleet.pipeline.stages:
        column = max((nodes[last[name]].column + 1 for name in stage.after), default=0)
        title = stage.name if stage.name in said else stage.pool.name
        first[stage.name] = last[stage.name] = len(nodes)
        nodes.append(_node(answer, stage, stage.pool, title, column))
        for name in stage.after:
            arrows.append(_arrow(answer, nodes, last[name], first[stage.name], _source(answer, name), stage.pool))
        if stage.decode is not None:
            last[stage.name] = len(nodes)
            after = stage.decode.name if stage.name not in said else f"{stage.name}: decode"
            nodes.append(_node(answer, stage, stage.decode, after, column + 1))
            arrows.append(_arrow(answer, nodes, first[stage.name], last[stage.name], stage.pool, stage.decode))
    return tuple(nodes), tuple(arrows)


def _source(answer: Answer, name: str) -> Pool:
    stage = next(stage for stage in answer.fleet.pipeline.stages if stage.name == name)
    return stage.decode or stage.pool


def _node(answer: Answer, stage: Stage, pool: Pool, title: str, column: int) -> Node:
    found = next(each for each in answer.found.pools if each.name == pool.name)
    lines = [f"pool {pool.name}"] if pool.name != title else []
    lines += [machines_of(found), found.model or f"search, {pool.table.index.partition(':')[0]} index"]
    if stage.table.fanout > 1:
        lines.append(f"{stage.table.fanout} jobs a request")
    if found.utilisation is not None:
        lines.append(f"{share(found.utilisation)} busy")
    return Node(title, found.device_class, column, tuple(lines))


def _arrow(answer: Answer, nodes: list[Node], source: int, target: int, one: Pool, other: Pool) -> Arrow:
    number = answer.fleet.pipeline.joins.get((one.name, other.name))
    if number is None:
        return Arrow(source, target, "")
    carried = answer.found.links[number].carried_bytes
    requests = answer.found.outcome.values["completed"] or 0.0
    each = f"{quantity(carried / requests, 'bytes')}/req." if requests and carried else ""
    return Arrow(source, target, f"{each}\n{bandwidth_in_words(answer.fleet.pipeline.links[number].port_bytes_per_s)}")
