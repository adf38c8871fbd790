"""Free text of points files finds the runtime that people meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from hardware_specs.facts import Fact, Mark
from hardware_specs.records import Compute, DeviceSpec, Memory
from workloads.runtimes import load_all_runtimes, load_runtime, match_runtime
from workloads.runtimes.catalogue import runs_on

ONE = Fact(1.0, "bytes", "1 B", Mark.ASSUMED, "test")


def device(device_class: str, vendor: str, default: str) -> DeviceSpec:
    return DeviceSpec(
        id=f"{vendor}-{device_class}", device_class=device_class, vendor=vendor, name="",  # type: ignore[arg-type]
        default_runtime=default, compute=Compute(peaks={}), memory=Memory("", ONE, ONE),
    )  # fmt: skip


NVIDIA = device("gpu", "NVIDIA", "vllm-0.19")
GEFORCE = device("gpu", "NVIDIA", "llamacpp-2024")
AMD = device("gpu", "AMD", "vllm-0.19")
INTEL = device("gpu", "Intel", "llamacpp-2024")
APPLE = device("gpu", "Apple", "llamacpp-metal-2024")
XEON = device("cpu", "Intel", "openvino-2025")
EPYC = device("cpu", "AMD", "llamacpp-cpu")
TPU = device("tpu", "Google", "jax-xla-2024")
GAUDI = device("asic", "Intel", "optimum-habana-1.18")
AWS = device("asic", "AWS", "neuron-2.20")
TENSTORRENT = device("asic", "Tenstorrent", "tt-metal-2024")
GROQ = device("asic", "Groq", "vendor-asic-2024")
XDNA = device("asic", "AMD", "npu-edge-2025")
ALVEO = device("fpga", "AMD/Xilinx", "fpga-overlay-2024")

NAMED = [
    ("TensorRT-LLM v0.5.0 gptSessionBenchmark static batching", NVIDIA, "trtllm-0.5"),
    ("TensorRT-LLM v0.6.1 gptSessionBenchmark static batching", NVIDIA, "trtllm-0.5"),
    ("TensorRT-LLM v0.7.1 gptSessionBenchmark static batching", NVIDIA, "trtllm-0.5"),
    ("TensorRT-LLM v0.8.0 gptSessionBenchmark static batching", NVIDIA, "trtllm-0.9"),
    ("TensorRT-LLM v0.14.0 trtllm-bench (in-flight batching)", NVIDIA, "trtllm-0.14"),
    ("TensorRT-LLM v1.0 PyTorch backend trtllm-bench", NVIDIA, "trtllm-1.0"),
    ("trtllm-1.3.0rc20 custom all-reduce", NVIDIA, "trtllm-1.0"),
    ("TensorRT 10.2.0, CUDA 12.4, cuDNN 8.9.7, Driver 550.54", NVIDIA, "trtllm-0.14"),
    ("TensorRT 10.11, CUDA 12.9", NVIDIA, "trtllm-1.0"),
    ("Jetpack 6.0, TensorRT 10.1, CUDA 12.2", NVIDIA, "trtllm-0.14"),
    ("vLLM", NVIDIA, "vllm-0.19"),
    ("vLLM", INTEL, "vllm-xpu-2025"),
    ("vLLM v0.10.0 ROCm 6.4.1", AMD, "vllm-rocm-2025"),
    ("vLLM 0.6.3", AMD, "vllm-rocm-2024"),
    ("vLLM 0.12", AMD, "vllm-0.19"),
    ("vLLM 0.6.5.dev964+mlperf50, Pytorch 2.7.0a0+git3a58512, ROCm", AMD, "vllm-rocm-2025"),
    ("vLLM v0.9.2", NVIDIA, "vllm-0.10"),
    ("vllm-0.14.0", NVIDIA, "vllm-0.19"),
    ("vllm-0.22.0", NVIDIA, "vllm-0.19"),
    ("vLLM 2023 (Splitwise)", NVIDIA, "vllm-2023"),
    ("vLLM (ML.ENERGY v2)", NVIDIA, "vllm-0.5"),
    ("vLLM v0.5.4", NVIDIA, "vllm-0.5"),
    ("vLLM 0.6.0", NVIDIA, "vllm-0.6"),
    ("vLLM (ML.ENERGY v3)", NVIDIA, "vllm-0.10"),
    ("vLLM 0.0.1", NVIDIA, "vllm-2023"),
    ("vLLM-TPU", TPU, "jax-xla-2024"),
    ("sarathi/torch", NVIDIA, "vllm-0.6"),
    ("SGLang PD-disagg + DeepEP/DeepGEMM/TBO", NVIDIA, "sglang-deepep-2025"),
    ("SGLang v0.4.9", NVIDIA, "sglang-0.5"),
    ("llama.cpp (May 2024)", GEFORCE, "llamacpp-2024"),
    ("llama.cpp (May 2024)", NVIDIA, "llamacpp-2024"),
    ("llama.cpp (May 2024)", APPLE, "llamacpp-metal-2024"),
    ("llama.cpp b3100", GEFORCE, "llamacpp-2024"),
    ("llama.cpp b6123", GEFORCE, "llamacpp-2025"),
    ("llama.cpp CUDA FA", GEFORCE, "llamacpp-2025"),
    ("llama.cpp Metal 8e672ef (rows added later: newer builds)", APPLE, "llamacpp-metal-2024"),
    ("llama.cpp-vulkan_radv Vulkan fa=True hipblaslt= b=", AMD, "llamacpp-vulkan-2025"),
    ("llama.cpp Vulkan", NVIDIA, "llamacpp-vulkan-nvidia-2025"),
    ("llama.cpp-hip ROCm fa=False hipblaslt= b=", AMD, "llamacpp-hip-gfx1151-2025"),
    ("llama.cpp-rocwmma ROCm fa=True hipblaslt=1 b=", AMD, "llamacpp-hipblaslt-2025"),
    ("llama.cpp b4384 CPU", EPYC, "llamacpp-cpu"),
    ("llama.cpp", XEON, "llamacpp-cpu"),
    ("ik_llama.cpp CPU", EPYC, "ik-llamacpp-2025"),
    ("T-MAC (CPU)", EPYC, "t-mac-2024"),
    ("llama.cpp + SECDA", ALVEO, "fpga-overlay-2024"),
    ("Deepspeed", GAUDI, "optimum-habana-1.18"),
    ("Deepspeed", NVIDIA, "deepspeed-2024"),
    ("Deepspeed-MII", NVIDIA, "deepspeed-mii-2024"),
    ("transformers-neuronx / NxD (AWS)", AWS, "neuron-2.20"),
    ("optimum-neuron vLLM, guidellm", AWS, "optimum-neuron-0.3"),
    ("Neuron (NxD / NeMo-Megatron)", AWS, "neuronx-distributed-2.21"),
    ("PyTorch 2.1/2.4 eager", NVIDIA, "torch-eager-2.4"),
    ("PyTorch 2.1/2.4 compile fusion", NVIDIA, "torch-compile-2.4"),
    ("torch 2.1.0 SIMT/no-TF32 fp32", NVIDIA, "torch-eager-2.4"),
    ("PyTorch", XEON, "ipex-2.4"),
    ("PyTorch", EPYC, "torch-eager-2.4"),
    ("IPEX 2.1", XEON, "ipex-2.4"),
    ("OpenVINO Model Server 2024.x", XEON, "openvino-2025"),
    ("optimum-habana SynapseAI 1.18", GAUDI, "optimum-habana-1.18"),
    ("Optimum-Habana/Megatron-DeepSpeed", GAUDI, "optimum-habana-1.18"),
    ("JetStream-PyTorch 2024-03-28", TPU, "jax-xla-2024"),
    ("SAX/PAX (v3.1), (v4.0)", TPU, "jax-xla-2024"),
    ("tt-inference-server vLLM", TENSTORRENT, "tt-metal-2024"),
    ("tt-metal/ttnn 2025-06", TENSTORRENT, "tt-metal-2024"),
    ("GroqCloud", GROQ, "vendor-asic-2024"),
    ("FastFlowLM v0.9.30", XDNA, "npu-edge-2025"),
    ("FlightLLM on board", ALVEO, "fpga-overlay-2024"),
    ("Vitis BLAS L2 gemvStreamCh16, Vitis 2021.1", ALVEO, "fpga-overlay-2024"),
    ("Megatron-LM v1", NVIDIA, "megatron-2021"),
    ("Megatron-Bridge 25.09", NVIDIA, "megatron-core-2025"),
    ("NeMo 24.07", NVIDIA, "megatron-core-2025"),
    ("Primus (Megatron)", AMD, "megatron-core-2025"),
    ("Megatron-DeepSpeed", NVIDIA, "megatron-deepspeed-2023"),
    ("MaxText", TPU, "maxtext-2024"),
    ("torchtitan", NVIDIA, "torchtitan-2025"),
    ("llm-foundry", NVIDIA, "fsdp-2024"),
]


@pytest.mark.parametrize(("software", "where", "expected"), NAMED)
def test_named_software(software: str, where: DeviceSpec, expected: str) -> None:
    runtime, exact = match_runtime(software, where)
    assert (runtime.id, exact) == (expected, True)


@pytest.mark.parametrize(
    ("software", "published", "expected"),
    [
        ("vLLM", "2023-11", "vllm-2023"),
        ("vLLM", "2024-11", "vllm-0.6"),
        ("vLLM", "2025-07-30", "vllm-0.10"),
        ("vLLM", "2027-01", "vllm-0.19"),
        ("vLLM", "2020-01", "vllm-2023"),
        ("vLLM v0.10.0", "2027-01", "vllm-0.10"),
        ("vLLM 2023 (Splitwise)", "2026-01", "vllm-2023"),
        ("TensorRT-LLM", "2024-10", "trtllm-0.9"),
        ("Megatron-LM", "2021-04", "megatron-2021"),
        ("Megatron-LM", "2022-06", "megatron-2022"),
    ],
)
def test_date_of_the_measurement_picks_the_version(software: str, published: str, expected: str) -> None:
    assert match_runtime(software, NVIDIA, published).runtime.id == expected


@pytest.mark.parametrize("software", ["", "-", "Driver version TBD", "vllmish", "NCCL", "xvllm 0.6"])
def test_unknown_text_gives_the_usual_runtime_and_says_so(software: str) -> None:
    assert match_runtime(software, NVIDIA) == (load_runtime("vllm-0.19"), False)


def test_a_runtime_that_does_not_run_there_is_no_match() -> None:
    assert match_runtime("TensorRT-LLM v0.9.0", TPU) == (load_runtime("jax-xla-2024"), False)


def test_published_must_be_a_date() -> None:
    with pytest.raises(InputError, match="'Oct 2024': must be an ISO date"):
        match_runtime("vLLM", NVIDIA, "Oct 2024")


@pytest.mark.parametrize("where", [NVIDIA, AMD, APPLE, XEON, TPU, GAUDI, AWS, TENSTORRENT, GROQ, ALVEO])
def test_the_id_of_a_runtime_names_it(where: DeviceSpec) -> None:
    for runtime in load_all_runtimes():
        found, exact = match_runtime(runtime.id, where)
        assert runs_on(found, where)
        if runs_on(runtime, where):
            assert (found.id, exact) == (runtime.id, True)


@given(st.text(max_size=60), st.sampled_from([NVIDIA, AMD, XEON, TPU, AWS, ALVEO]))
def test_any_text_gives_a_runtime_that_runs(software: str, where: DeviceSpec) -> None:
    runtime, exact = match_runtime(software, where)
    assert runs_on(runtime, where)
    assert exact or runtime.id == where.default_runtime


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_newer_version_never_finds_an_older_runtime(older: int, newer: int) -> None:
    older, newer = sorted((older, newer))
    dates = [match_runtime(f"vLLM v0.{minor}", NVIDIA).runtime.date for minor in (older, newer)]
    assert dates == sorted(dates)
