from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hardware_specs.errors import InputError
from simulator.calibration.machine.accelerators import Accelerator
from simulator.calibration.machine.allowance import Allowance
from simulator.calibration.machine.device_ids import device_id_of
from simulator.calibration.machine.environment import Environment, read_environment
from simulator.calibration.machine.processor import Processor


@pytest.mark.parametrize(
    ("vendor", "model", "id_"),
    [
        ("AuthenticAMD", "AMD EPYC 9654 96-Core Processor", "amd-epyc-9654-6c"),
        ("AuthenticAMD", "AMD Ryzen 7 7840U w/ Radeon  780M Graphics", "amd-ryzen-7-7840u-6c"),
        ("AuthenticAMD", "AMD Ryzen 5 5600G with Radeon Graphics", "amd-ryzen-5-5600g-6c"),
        ("GenuineIntel", "Intel(R) Xeon(R) Platinum 8480+", "intel-xeon-platinum-8480-plus-6c"),
        ("GenuineIntel", "Intel(R) Xeon(R) CPU E5-2683 v4 @ 2.10GHz", "intel-xeon-e5-2683-v4-6c"),
        ("GenuineIntel", "12th Gen Intel(R) Core(TM) i7-12700K", "intel-core-i7-12700k-6c"),
        ("GenuineIntel", "Intel(R) Xeon(R) 6787P", "intel-xeon-6787p-6c"),
        ("ARM", "Neoverse-V2", "arm-neoverse-v2-6c"),
        ("", "", "cpu-6c"),
    ],
)
def test_ids_of_cpus(vendor: str, model: str, id_: str) -> None:
    environment = Environment(processor=Processor(vendor=vendor, model=model), allowance=Allowance(physical_cores=6))
    assert device_id_of(environment) == id_


def test_sockets_show(xeon: Path) -> None:
    assert device_id_of(read_environment(xeon, environ={})) == "intel-xeon-platinum-8480-plus-2s-8c"


def test_a_quota_shows(epyc_vm: Path) -> None:
    found = read_environment(epyc_vm, environ={})
    assert device_id_of(found) == "amd-epyc-2c"
    less = msgspec.structs.replace(found, allowance=msgspec.structs.replace(found.allowance, quota_cores=1.5))
    assert device_id_of(less) == "amd-epyc-1p5c"


def test_ids_of_gpus() -> None:
    gpus = tuple(Accelerator(name=name) for name in ("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"))
    environment = Environment(accelerators=gpus)
    assert device_id_of(environment, "gpu") == "nvidia-h100-80gb-hbm3"
    assert device_id_of(environment, "gpu", 1) == "nvidia-a100-sxm4-40gb-mig-1g-5gb"
    with pytest.raises(InputError, match="there is no GPU 2 \\(allowed: 0 to 1\\)"):
        device_id_of(environment, "gpu", 2)


@pytest.mark.parametrize(
    ("missing", "reason"), [("nvidia-ml-py is not installed", "nvidia-ml-py is not"), ("", "none is")]
)
def test_no_gpu_says_why(missing: str, reason: str) -> None:
    with pytest.raises(InputError, match=rf"there is no GPU 0 \({reason}"):
        device_id_of(Environment(accelerators_missing=missing), "gpu")


def test_cores_of_two_kinds_show(arm_server: Path) -> None:
    found = read_environment(arm_server, environ={})
    assert device_id_of(found) == "arm-neoverse-v2-4c"
    mixed = msgspec.structs.replace(found.processor, model="Cortex-A55 + Cortex-A76")
    assert device_id_of(msgspec.structs.replace(found, processor=mixed)) == "arm-cortex-a55-cortex-a76-4c"
