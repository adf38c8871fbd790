"""What requests usually look like: mean lengths of known sets of prompts, and what known benchmarks hold a server to.

A row that does not state its lengths often names what it ran ("ShareGPT", "MLPerf v5.1 Server llama3.1-405b"). Lengths
are means over the set; other tokenizers, filters and samples of one set differ by its ``spread``.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple


class Requests(NamedTuple):
    """A set of prompts: mean prompt and answer [tokens], and the factor by which either may be off (80%).

    ``words`` is a pattern of what names it, in lower case; ``source`` is where its lengths are from. ``models`` is a
    pattern of the models whose tokens these are ("": any).
    """

    name: str
    words: str
    isl: int
    osl: int
    spread: float
    source: str
    models: str = ""


_MLPERF: Final = r"mlperf\b.*\b"
_ML_ENERGY: Final = "https://github.com/ml-energy/benchmark docs, request datasets; "
_IMAGE: Final = (
    "assumed: one image of about a megapixel at 28 x 28 pixels a token, and a short question; the encoder is left out"
)
_VIDEO: Final = (
    "32 frames (the default of vLLM), two of which share their tokens (Wang et al., Qwen2-VL, arXiv:2409.12191, 2.1); "
    "assumed: 128 tokens a pair; the encoder is left out"
)
_QUESTION: Final = "; a short question assumed; the encoder is left out"
_GEMMA_IMAGE: Final = (
    "Gemma Team, arXiv:2503.19786, section 2.1 (256 tokens an image); a short question assumed; the encoder is left out"
)
_PICTURE: Final = r"image|multimodal|mllm|vision"

KNOWN: Final[tuple[Requests, ...]] = (
    Requests(
        "OpenOrca of MLPerf", _MLPERF + r"llama(2|3_1|3\.1)-70b", 294, 294, 1.5,
        "answers: language/llama2-70b of MLCommons inference (294.45 tokens per sample); prompts: assumed as long",
    ),
    Requests(
        "long documents of MLPerf", _MLPERF + r"llama3[._]1-405b", 9400, 685, 1.2,
        "MLCommons blog 2025-04, llm-inference-v5 (9,400 and 680); README of language/llama3.1-405b (684.68)",
    ),
    Requests(
        "CNN/DailyMail", r"llama3[._]1-8b|gpt-?j\b|cnn", 778, 73, 1.3,
        "MLCommons blog 2025-09, small-llm-inference-5-1 (prompts 778, answers 73 tokens)",
    ),
    Requests(
        "reasoning sets of MLPerf", _MLPERF + "deepseek-r1", 800, 3880, 1.3,
        "MLCommons blog 2025-09, deepseek-inference-5-1 (prompts 800, answers 3,880 tokens)",
    ),
    Requests("OpenOrca", r"open-?orca", 294, 294, 1.5, "as in MLPerf llama2-70b"),
    Requests(
        "ShareGPT", "sharegpt", 161, 338, 1.5,
        "Kwon et al., arXiv:2309.06180, figure 11 (prompts 161, answers 338 tokens)",
    ),
    Requests("Alpaca", "alpaca", 19, 58, 1.5, "Kwon et al., arXiv:2309.06180, figure 11 (19 and 58 tokens)"),
    Requests(
        "GPQA", "gpqa", 280, 4000, 1.5,
        "Rein et al., arXiv:2311.12022 (questions of 169 tokens); four choices and instructions assumed",
    ),
    Requests("videos", r"(?<!image/)video", 2048, 400, 4.0, _VIDEO),
    Requests("an image of 256 tokens", _PICTURE, 320, 200, 2.0, _GEMMA_IMAGE, "gemma-3-"),
    Requests(
        "an image of 576 tokens", _PICTURE, 640, 200, 2.0,
        "Liu et al., arXiv:2310.03744 (336 x 336 pixels in patches of 14)" + _QUESTION, "llava-1.5-",
    ),
    Requests(
        "an image of 1,024 tokens", _PICTURE, 1088, 200, 2.0,
        "Chameleon Team, arXiv:2405.09818, section 2.1" + _QUESTION, "chameleon-",
    ),
    Requests(
        "an image in five tiles", _PICTURE, 2944, 200, 1.5,
        "LLaVA-NeXT (llava-vl.github.io, 2024-01-30): a whole image and four tiles of 576 tokens" + _QUESTION,
        "llava-next-",
    ),
    Requests("images", _PICTURE, 1100, 200, 3.0, _IMAGE),
    Requests("code files", r"\bfim\b", 2048, 200, 3.0, _ML_ENERGY + "fill-in-the-middle with context: assumed"),
    Requests(
        "HumanEval", r"humaneval|evalplus|/code\b", 150, 150, 2.0,
        "Chen et al., arXiv:2107.03374: signature and docstring, of about 450 characters",
    ),
    Requests("default prompt", r"default prompt", 16, 100, 2.0, "one sentence, as examples of optimum-habana have it"),
    Requests(
        "Chatbot Arena", r"arena", 400, 215, 2.0,
        "conversations, whose earlier turns are part of the prompt: set from rates of ML.ENERGY v3, 300 to 800 alike",
    ),
    Requests(
        "ShareGPT of ML.ENERGY", r"text_generation/chat", 161, 338, 1.5,
        "docs/about.md of ml-energy/leaderboard (500 human prompts from ShareGPT); lengths as ShareGPT",
    ),
    Requests(
        "LMSYS-Chat", r"lmsys|\bchat\b", 70, 215, 3.0,
        "Zheng et al., arXiv:2309.11998, table 1 (prompts 69.5, answers 214.5 tokens); system prompts come on top",
    ),
)  # fmt: skip
"""Sets of prompts; the first whose words occur counts, so the narrower stand first."""

UNKNOWN: Final = Requests("usual chat", "", 161, 338, 3.0, "as ShareGPT")
SHORT_CONTEXT: Final = Requests("short context", "", 128, 128, 4.0, "assumed: a step hardly depends on it")
GENERATION: Final = Requests(
    "generation of llama-bench", "", 1, 128, 2.0,
    "-p 0 -n 128: tools/bench_e2e.py of microsoft/T-MAC; README: joules of a token are watts over its tokens/s",
)  # fmt: skip
USUAL_PROMPT: Final = Requests("usual prompt", "", 512, 1, 4.0, "assumed: the prompt of llama-bench (pp512)")
"""Where nothing is named: runs, decode rates, and first tokens."""


def requests_named(text: str, model: str = "") -> Requests | None:
    """The set of prompts that ``text`` names, in tokens of ``model``; None for none."""
    lower = text.lower()
    return next((each for each in KNOWN if re.search(each.words, lower) and re.match(each.models, model)), None)


INTERVALS_S: Final[dict[str, tuple[float, float]]] = {
    "llama2-70b": (0.2, 0.04),
    "llama3_1-70b": (0.2, 0.04),
    "llama3_1-405b": (0.175, 0.08),
    "llama3_1-8b": (0.1, 0.03),
    "deepseek-r1": (0.08, 0.015),
}
"""Longest time per output token that MLPerf allows by model, of Server and of Interactive [s]. Source: MLCommons
inference, loadgen/mlperf.conf (``tpot_latency``); that of llama2-70b holds for its open variants too."""

_SCENARIO = re.compile(r"mlperf\b.*\b(server|interactive) ([\w.]+-\w+)")


def interval_limit_s(text: str) -> float | None:
    """The longest time per output token that a benchmark named in ``text`` allows [s]; None where it sets no limit."""
    match = _SCENARIO.search(text.lower())
    limits = INTERVALS_S.get(match[2].replace("llama3.1", "llama3_1")) if match else None
    return limits[match[1] == "interactive"] if match and limits else None


def is_tuned(text: str) -> bool:
    """Whether ``text`` names a benchmark whose entrants choose formats and layout for the best figure."""
    return "mlperf" in text.lower()


BENCH_REQUESTS: Final = {
    (128, 128): 30_000, (128, 2048): 3000, (128, 4096): 1500, (500, 2000): 3000, (1000, 1000): 3000, (1000, 2000): 1500,
    (2048, 128): 3000, (2048, 2048): 1500, (5000, 500): 1500, (20_000, 2000): 1000,
}  # fmt: skip
"""Requests of the published runs of trtllm-bench by prompt and answer. Source: TensorRT-LLM, performance overview of
version 1.0, "Preparing a Dataset"; those of earlier versions are taken to be as many."""

_PROMPTS = re.compile(r"num_prompts=(\d+)")


def requests_in(text: str, isl: float | None, osl: float | None) -> str:
    """How many requests ``text`` states, by number or by the benchmark that it names; "" for none."""
    lower = text.lower()
    match = _PROMPTS.search(lower)
    if match:
        return match[1]
    known = BENCH_REQUESTS.get((round(isl), round(osl))) if isl and osl and "trtllm-bench" in lower else None
    return str(known) if known else ""


_THREADS = re.compile(r"(?<![\w.])(\d+) threads\b|(?<!\S)-t (\d+)\b")


def threads_in(text: str) -> str:
    """How many threads ``text`` states, in words or as llama.cpp's flag; "" for none."""
    match = _THREADS.search(text.lower())
    return (match[1] or match[2]) if match else ""


_RATE = re.compile(r"(?:request_rate=|asynchronous@)(inf|\d+(?:\.\d+)?)")
_LIMIT = re.compile(r"max_num_seqs=(\d+)")


def arrivals_in(text: str) -> str:
    """Requests per second that ``text`` states as serving benchmarks and guidellm do; "inf" for all at once, "" for
    none."""
    match = _RATE.search(text.lower())
    return match[1] if match else ""


def limit_in(text: str) -> str:
    """The most sequences at a time that ``text`` states as vLLM calls them; "" for none."""
    match = _LIMIT.search(text.lower())
    return match[1] if match else ""
