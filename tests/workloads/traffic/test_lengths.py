"""How long requests are. Statistics are held to five standard errors of the estimate, which are stated."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hardware_specs.errors import InputError, UnknownName
from workloads.traffic.law_words import TIME_LAWS, TOKEN_LAWS, law_of_times, law_of_tokens
from workloads.traffic.laws import Law, LogNormal, Sample, largest_ratio, lognormal_of_mean
from workloads.traffic.lengths import Lengths, lengths_of, read_lengths, whole_tokens
from workloads.traffic.record import MOST_TOKENS, Floats

N = 400_000
SIGMAS = 5.0
WORDS = (
    "512", "fixed:value=7", "uniform:low=3,high=9", "normal:mean=200,std=50", "lognormal:mean=512,p99=4000",
    "lognormal:median=100,sigma=2", "exponential:mean=80", "geometric:mean=4", "zipf:alpha=1.2,high=1000",
    "lognormal:mean=512,p99=4000,min=16,max=2048", "normal:mean=5,std=100",
)  # fmt: skip


def drawn(text: str | int, seed: int = 0, count: int = N) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    prompts, _ = lengths_of(text, 1).draw(count, seed)
    return prompts


@settings(deadline=None, max_examples=80)
@given(
    words=st.sampled_from(WORDS), other=st.sampled_from(WORDS), seed=st.integers(0, 2**64 - 1),
    few=st.integers(0, 500), more=st.integers(0, 500),
)  # fmt: skip
def test_a_longer_run_begins_with_the_shorter(words: str, other: str, seed: int, few: int, more: int) -> None:
    law = lengths_of(words, other)
    short, long = law.draw(few, seed), law.draw(few + more, seed)
    for one, two in zip(short, long, strict=True):
        np.testing.assert_array_equal(one, two[:few])
        assert one.dtype == np.int64
        assert two.min(initial=1) >= 1
        assert two.max(initial=1) <= MOST_TOKENS


@settings(deadline=None)
@given(words=st.sampled_from(WORDS), unit=st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=2, max_size=50))
def test_quantiles_never_fall(words: str, unit: list[float]) -> None:
    law = law_of_tokens(words, "--isl")
    found = whole_tokens(law, np.sort(np.array(unit)))
    assert (np.diff(found) >= 0).all()


def test_prompts_and_answers_have_streams_of_their_own() -> None:
    first, second = (
        lengths_of("lognormal:mean=512,p99=4000", "uniform:low=1,high=100"),
        lengths_of(9, "uniform:low=1,high=100"),
    )
    assert np.array_equal(first.draw(100, 3)[1], second.draw(100, 3)[1])
    prompts, answers = lengths_of("uniform:low=1,high=1000", "uniform:low=1,high=1000").draw(N, 3)
    assert abs(np.corrcoef(prompts, answers)[0, 1]) < SIGMAS / math.sqrt(N), "standard error 1 / sqrt(n)"


MOMENTS = {
    "uniform:low=10,high=50": (30.0, (41.0**2 - 1.0) / 12.0),
    "normal:mean=1000,std=120": (1000.0, 120.0**2),
    "geometric:mean=4": (4.0, 12.0),
    "exponential:mean=5000": (5000.0, 5000.0**2),
    "lognormal:mean=512,std=700": (512.0, 700.0**2),
    "lognormal:median=600,sigma=0.5": (600.0 * math.exp(0.125), 600.0**2 * math.exp(0.25) * math.expm1(0.25)),
    "lognormal:mean=2000,sigma=0.7": (2000.0, 2000.0**2 * math.expm1(0.49)),
}


@pytest.mark.parametrize("text", MOMENTS)
def test_mean_and_variance(text: str) -> None:
    """Standard error of the mean sd / sqrt(n); that of the variance from the sample's fourth moment. Rounding to whole
    tokens adds up to a twelfth to the variance."""
    values = drawn(text, 5).astype(float)
    mean, variance = MOMENTS[text]
    fourth = ((values - values.mean()) ** 4).mean()
    assert abs(values.mean() - mean) < SIGMAS * math.sqrt(variance / N) + 0.5 / mean
    assert abs(values.var() - variance) < SIGMAS * math.sqrt((fourth - variance**2) / N) + 1.0 / 6.0


@pytest.mark.parametrize(
    ("mean", "key", "level", "quantile"),
    [(512, "p99", 0.99, 4000), (512, "p99", 0.99, 600), (300, "p95", 0.95, 900), (100, "p90", 0.9, 220)],
)
def test_a_lognormal_law_has_its_mean_and_its_quantile(mean: float, key: str, level: float, quantile: float) -> None:
    """Standard error of a quantile q: sqrt(p (1 - p) / n) / density(q); half a token of rounding."""
    law = law_of_tokens(f"lognormal:mean={mean},{key}={quantile}", "--isl")
    assert isinstance(law, LogNormal)
    exact = stats.lognorm(law.sigma, scale=math.exp(law.mu))
    assert exact.mean() == pytest.approx(mean, rel=1e-12)
    assert exact.ppf(level) == pytest.approx(quantile, rel=1e-9)
    values = drawn(f"lognormal:mean={mean},{key}={quantile}", 1).astype(float)
    assert abs(values.mean() - mean) < SIGMAS * exact.std() / math.sqrt(N)
    error = math.sqrt(level * (1.0 - level) / N) / exact.pdf(quantile)
    assert abs(np.quantile(values, level) - quantile) < SIGMAS * error + 0.5


@given(st.floats(1.0, 14.9), st.floats(1.0, 1e6))
def test_every_possible_lognormal_law_is_found(ratio: float, mean: float) -> None:
    law = lognormal_of_mean(mean, ratio * mean, 0.99)
    assert law is not None
    assert 0.0 <= law.sigma <= 2.3264
    assert math.exp(law.mu + law.sigma**2 / 2.0) == pytest.approx(mean)
    assert stats.lognorm.ppf(0.99, law.sigma, scale=math.exp(law.mu)) == pytest.approx(ratio * mean) or law.sigma == 0.0


def test_the_largest_quantile_of_a_lognormal_law() -> None:
    ratios = [stats.lognorm.ppf(0.99, s) / stats.lognorm.mean(s) for s in np.linspace(0.01, 6.0, 2000)]
    assert largest_ratio(0.99) == pytest.approx(max(ratios), rel=1e-5)
    assert lognormal_of_mean(1.0, largest_ratio(0.99) * 1.001, 0.99) is None


def test_medians() -> None:
    law = law_of_tokens("lognormal:median=100,p99=1000", "--isl")
    assert isinstance(law, LogNormal)
    assert law.at(np.array([0.5, 0.99])) == pytest.approx([100.0, 1000.0])
    spread = law_of_tokens("lognormal:median=100,std=80", "--isl")
    assert isinstance(spread, LogNormal)
    assert stats.lognorm.std(spread.sigma, scale=math.exp(spread.mu)) == pytest.approx(80.0)
    assert spread.at(np.array([0.5])) == pytest.approx([100.0])


@pytest.mark.parametrize(("alpha", "low", "high"), [(0.0, 1, 10), (1.0, 1, 50), (1.5, 4, 40), (30.0, 2, 5)])
def test_zipf_probabilities(alpha: float, low: int, high: int) -> None:
    """Counts within five standard errors of a binomial count."""
    values = drawn(f"zipf:alpha={alpha},low={low},high={high}", 9)
    k = np.arange(low, high + 1.0)
    expected = k**-alpha / (k**-alpha).sum()
    counts = np.bincount(values, minlength=high + 1)[low:]
    assert counts.sum() == N
    assert (np.abs(counts - N * expected) <= SIGMAS * np.sqrt(N * expected * (1.0 - expected)) + 1e-6).all()


def test_ends_of_quantiles() -> None:
    """A number at the end of a value's share is the next value."""
    half = np.array([0.0, np.nextafter(0.5, 0.0), 0.5, np.nextafter(1.0, 0.0)])
    for text in ("zipf:alpha=0,high=2", "uniform:low=1,high=2"):
        assert whole_tokens(law_of_tokens(text, "--isl"), half).tolist() == [1, 1, 2, 2]
    geometric = whole_tokens(law_of_tokens("geometric:mean=2", "--isl"), np.array([0.0, 0.4999, 0.5001]))
    assert geometric.tolist() == [1, 1, 2]


def test_uniform_has_both_ends() -> None:
    values = drawn("uniform:low=3,high=5", count=30_000)
    counts = np.bincount(values)
    assert counts[:3].sum() == 0
    assert (np.abs(counts[3:] - 10_000) < SIGMAS * math.sqrt(30_000 * 2 / 9)).all()


def test_bounds_clip() -> None:
    values = drawn("lognormal:mean=512,p99=4000,min=100,max=2048")
    free = drawn("lognormal:mean=512,p99=4000")
    np.testing.assert_array_equal(values, np.clip(free, 100, 2048))
    assert drawn("normal:mean=5,std=100").min() == 1


def test_a_number_is_a_law() -> None:
    for text in (512, "512", 512.0, " 512 ", "fixed:value=512"):
        assert set(drawn(text, count=5).tolist()) == {512}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (0, "'0' must be a whole number of tokens, from 1"),
        (-3, "'-3' must be a whole number"),
        (1.5, "'1.5' must be a whole number"),
        ("nan", "'nan' must be a whole number"),
        ("inf", "'inf' must be a whole number"),
        (True, "True must be a number of tokens"),
        (None, "None must be a number of tokens"),
        ([512], "must be a number of tokens"),
        ("lognormal", "needs one of mean, median and one of p90"),
        ("lognormal:mean=512,p98=9", "unknown key 'p98'; did you mean 'p99'"),
        ("lognormal:mean=512,p99=8000", r"impossible; it is at most 14.97 times the mean, so 7664"),
        ("lognormal:mean=512,p99=500", "impossible; it must be at least the mean"),
        ("lognormal:median=512,p99=500", "impossible; it must be at least the median"),
        ("lognormal:mean=5,median=4,p99=9", "needs one of mean, median"),
        ("lognormal:mean=0,p99=9", "mean '0' must be from 1e-15"),
        ("lognormal:mean=512,p99=4000,p99=5000", "p99 is there twice"),
        ("lognormal:mean=512 p99=4000", "needs one of mean, median"),
        ("lognormal:mean=1e300,p99=1e301", "must be from"),
        ("uniform:low=5", "missing key high"),
        ("uniform:low=0,high=5", "low '0' must be a whole number from 1"),
        ("uniform:low=9,high=5", "low 9 is above high 5"),
        ("uniform:low", "'low' must be key=value"),
        ("normal:mean=9,std=-1", "std '-1' must be from 0"),
        ("normal:mean=9,std=1,min=5,max=4", "min 5 is above max 4"),
        ("geometric:mean=0.5", "mean '0.5' must be from 1"),
        ("zipf:alpha=1,high=1e9", "high '1e9' must be from low, 1, to 16777216"),
        ("zipf:alpha=1,low=5,high=4", "high '4' must be from low, 5"),
        ("zipf:alpha=-1,high=4", "alpha '-1' must be from 0"),
        ("fixed:value=2.5", "value '2.5' must be a whole number"),
    ],
)
def test_what_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        lengths_of(text, 5)
    assert str(caught.value).startswith("--isl: ")
    assert "\n" not in str(caught.value)


def test_unknown_laws_name_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        lengths_of(5, "lognorm:mean=4")
    assert str(caught.value).startswith(
        "--osl: unknown law of lengths 'lognorm'; did you mean 'lognormal' or 'normal'?"
    )
    for name in TOKEN_LAWS:
        assert name in str(caught.value)


def test_times_need_units() -> None:
    unit = np.linspace(0.0, 0.999, 2000)
    assert law_of_times("20 s", "--think").at(unit).tolist() == [20.0] * 2000
    assert law_of_times("uniform:low=1 s,high=2 min", "--think").at(np.array([0.0, 0.5])).tolist() == [1.0, 60.5]
    found = law_of_times("exponential:mean=30 s", "--think").at(np.array([0.5]))
    assert found == pytest.approx([30.0 * math.log(2.0)])
    assert law_of_times("exponential:mean=30 s,max=1 min", "--think").at(unit).max() == 60.0
    assert set(TIME_LAWS) < set(TOKEN_LAWS)
    for text, message in (
        ("20", "no unit"), ("exponential:mean=30", "no unit"), ("-3 s", "from 0 on"), ("20 GB", "not a time"),
        ("zipf:alpha=1,high=5", "unknown law of times 'zipf'"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            law_of_times(text, "--think")


PAIRS = [(10, 1), (20, 2), (30, 3), (40, 4)]


def written(folder: Path, name: str, text: str) -> str:
    place = folder / name
    if name.endswith(".gz"):
        place.write_bytes(gzip.compress(text.encode()))
    else:
        place.write_text(text, encoding="utf-8")
    return str(place)


FILES = {
    "a.csv": "prompt_len,output_len\n10,1\n20,2\n30,3\n40,4\n",
    "b.csv": "10,1\n20,2\n30,3\n40,4\n",
    "c.csv": "id;ContextTokens;x;GeneratedTokens\r\na;10;;1\r\nb;20;;2\r\n\r\nc;30;;3\r\nd;40;;4",
    "d.csv.gz": "input,output\n10,1\n20,2\n30,3\n40,4\n",
    "e.json": json.dumps(PAIRS),
    "f.json": json.dumps([{"isl": i, "osl": o} for i, o in PAIRS]),
    "g.json": json.dumps({"Prompt tokens": [i for i, _ in PAIRS], "response_tokens": [o for _, o in PAIRS]}),
}


@pytest.mark.parametrize("name", FILES)
def test_pairs_of_files_are_drawn_together(tmp_path: Path, name: str) -> None:
    """Each of four pairs within five standard errors of a binomial count."""
    place = written(tmp_path, name, FILES[name])
    for law in (lengths_of(place), lengths_of(place, place)):
        assert law.paired
        prompts, answers = law.draw(40_000, 2)
        np.testing.assert_array_equal(prompts, answers * 10)
        assert (np.abs(np.bincount(answers)[1:] - 10_000) < SIGMAS * math.sqrt(40_000 * 3 / 16)).all()
    prompts, answers = lengths_of(place, 7).draw(100, 2)
    assert set(prompts.tolist()) == {10, 20, 30, 40}
    assert set(answers.tolist()) == {7}
    assert set(lengths_of(7, place).draw(100, 2)[1].tolist()) == {1, 2, 3, 4}


def test_a_parquet_file(tmp_path: Path) -> None:
    place = tmp_path / "a.parquet"
    pd.DataFrame(PAIRS, columns=["input", "output"]).to_parquet(place)
    assert lengths_of(str(place)).paired
    prompts = read_lengths(place).prompts()
    assert prompts.tolist() == [10.0, 20.0, 30.0, 40.0]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "5\n6\n7\n"), ("b.csv", "length\n5\n6\n7\n"), ("c.csv", "mine\n5\n6\n7\n"), ("d.json", "[5, 6, 7.0]"),
     ("e.json", '{"tokens": [5, 6, 7]}')],
)  # fmt: skip
def test_one_column_serves_either_side(tmp_path: Path, name: str, text: str) -> None:
    place = written(tmp_path, name, text)
    prompts, answers = lengths_of(place, place).draw(1000, 0)
    assert set(prompts.tolist()) == set(answers.tolist()) == {5, 6, 7}
    assert not np.array_equal(prompts, answers), "one column is no pairs"
    with pytest.raises(InputError, match="no pairs of prompts and answers; say the answers"):
        lengths_of(place)


def test_paths_begin_in_the_folder(tmp_path: Path) -> None:
    written(tmp_path, "a.csv", FILES["a.csv"])
    assert lengths_of("./a.csv", folder=tmp_path).paired
    assert lengths_of("a.csv", folder=tmp_path).paired


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "input,output\n", "holds no lengths"),
        ("a.csv", "input,output\n5,6\n7,0\n", "line 3: output '0' must be a whole number of tokens, from 1"),
        ("a.csv", "input,output\n5,6\n\n-7,1\n", "line 4: input '-7' must be"),
        ("a.csv", "input,output\n5,6\n7,NaN\n", "line 3: output 'NaN' must be"),
        ("a.csv", "input,output\n5,6\n7.5,1\n", "line 3: input '7.5' must be"),
        ("a.csv", "input,output\n5,6\n7\n", "line 3: output '' must be"),
        ("a.csv", "input,output\n5,6\n1,024,5\n", "line 3: has more cells than the header"),
        ("a.csv", "a,b\n5,6\n", "no column of lengths"),
        ("a.csv", "1,2,3\n", "3 columns without names"),
        ("a.csv", "input\0,output\n5,6\n", "not UTF-8 text"),
        ("a.json", "[]", "holds no lengths"),
        ("a.json", "[5, 0]", r"lengths\[1\]: 0 must be"),
        ("a.json", "[5, true]", r"lengths\[1\]: True must be"),
        ("a.json", "[[5, 6], [7]]", r"item 1: \[7\] must be a pair"),
        ("a.json", '{"input": [5], "output": [6, 7]}', "1 prompts and 2 answers are no pairs"),
        ("a.json", '[{"inputs": 5}]', "no lists of lengths; did you mean 'input'"),
        ("a.json", "[5,", "not valid JSON"),
        ("a.json", "5", "must be a list of lengths"),
        ("a.parquet", "nothing", "not a Parquet file"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, message: str) -> None:
    place = written(tmp_path, name, text)
    with pytest.raises(InputError, match=message) as caught:
        lengths_of(place, place)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: no such file"):
        lengths_of(str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match="--osl: missing"):
        lengths_of(512)


def test_a_law_of_ones_own() -> None:
    class Two:
        def at(self, unit: Floats) -> Floats:
            return np.full(len(unit), 2.4)

    own: Law = Two()
    prompts, answers = Lengths(own, Sample(np.array([3.0]))).draw(3, 0)
    assert prompts.tolist() == [2, 2, 2]
    assert answers.tolist() == [3, 3, 3]
