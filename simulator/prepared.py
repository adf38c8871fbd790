"""A scenario made ready to be priced: checked, device compiled, communicators built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hardware_specs.errors import InputError
from simulator.devices.model import DeviceModel, compile_device
from simulator.formats import precision_of
from simulator.network.communicator import Communicator
from simulator.network.topology import Network
from simulator.scenario import Placement, Plan, Scenario, check_plan
from workloads.lowering.plan import Lowering, Precision, Sharding, check_sharding


@dataclass(frozen=True)
class Prepared:
    """A checked scenario with everything that pricing needs."""

    scenario: Scenario
    model: DeviceModel
    precision: Precision
    how: Lowering
    communicators: Mapping[str, Communicator]

    @property
    def peak_flops(self) -> float:
        """Dense peak of the compute dtype on one device [FLOP/s]."""
        return self.model.peak_flops(self.precision.compute)

    @property
    def usable_bytes(self) -> float:
        """Bytes of one device that weights, cache, activations and the runtime may fill [B]."""
        spec, runtime = self.scenario.hardware.device, self.scenario.runtime
        return spec.usable_bytes * runtime.memory_utilisation.value


def prepare(scenario: Scenario) -> Prepared:
    """Check a scenario and compile its device.

    Raises:
        InputError: an impossible plan, dtype, size or runtime for this device.
    """
    spec, runtime, plan = scenario.hardware.device, scenario.runtime, scenario.plan
    if spec.device_class not in runtime.device_classes:
        raise InputError(
            f"runtime {runtime.id!r} runs on {', '.join(runtime.device_classes)}; {spec.id} is a {spec.device_class}"
        )
    check_plan(plan, scenario.hardware.count)
    sharding = Sharding(plan.tp, plan.ep, plan.pp)
    check_sharding(scenario.workload.model, sharding)
    precision = precision_of(scenario.formats, spec)
    how = Lowering(precision, sharding, frozenset(runtime.fusions))
    return Prepared(
        scenario,
        compile_device(spec, runtime),
        precision,
        how,
        communicators_of(scenario.hardware, plan.tp, plan.pp, plan.dp, plan.ep),
    )


def communicators_of(hardware: Placement, plan: Plan) -> dict[str, Communicator]:
    """One communicator per axis. Ranks are laid out tp fastest, then dp (expert groups inside tp x dp), then pp."""
    network = Network(hardware.system, hardware.links)
    layout = {"tp": (plan.tp, 1), "ep": (plan.ep, 1), "dp": (plan.dp, plan.tp), "pp": (plan.pp, plan.tp * plan.dp)}
    return {axis: network.communicator(size, stride) for axis, (size, stride) in layout.items() if size > 1}
