"""Scripts read without a shell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware_specs.errors import InputError
from workloads.training_configs import expressions
from workloads.training_configs.settings import UNSET
from workloads.training_configs.shell_script import read_script
from workloads.training_configs.shell_words import tokens_of


def words(text: str, **environment: str) -> list[str]:
    """The words behind the program of the only command of a script."""
    (command,) = read_script(text, "job.sh", environment).commands
    found = [word.text for word in command.words]
    return found[next(i for i, word in enumerate(found) if word.endswith(".py")) + 1 :]


def test_arrays_strings_and_continuation_lines() -> None:
    script = """
    LAYERS=24
    MODEL_ARGS=(
        --num-layers $LAYERS   # 24 layers
        # --bf16
        --hidden-size "1024"
    )
    MODEL_ARGS+=(--seq-length 2048)
    OTHER="\\
        --tp 4 \\
        --pp ${PP:-2}"
    torchrun --nnodes 1 pretrain_gpt.py "${MODEL_ARGS[@]}" $OTHER \\
        --lr 1e-4 2>&1 | tee --append log.txt
    """
    assert words(script) == [
        "--num-layers", "24", "--hidden-size", "1024", "--seq-length", "2048", "--tp", "4", "--pp", "2", "--lr", "1e-4",
    ]  # fmt: skip


def test_lines_of_words_are_kept() -> None:
    script = read_script("A=(\n --x 1\n --y 2\n)\npython t.py ${A[@]} \\\n --z 3\n", "job.sh", {})
    lines = {word.text: word.line for word in script.commands[0].words}
    assert (lines["--x"], lines["--y"], lines["t.py"], lines["--z"]) == (2, 3, 5, 6)


@pytest.mark.parametrize(
    ("expression", "value"),
    [("$((8 * 4))", "32"), ("$((GPUS*$NODES))", "32"), ("$((${GPUS} / 3))", "2"), ("$((-7 / 2))", "-3"),
     ("$((-7 % 2))", "-1"), ("$(( (1+2)*3 ))", "9"), ("`expr $GPUS \\* 2`", "16"), ("$(expr $NODES + 1)", "5"),
     ("$(( ($GPUS > 1) ? 1 : 0 ))", "1"), ("$((NODES == 8 ? 3 : NODES + 1))", "5"), ("$((GPUS != 8))", "0")],
)  # fmt: skip
def test_arithmetic(expression: str, value: str) -> None:
    assert words(f"GPUS=8\nNODES=4\npython t.py --n {expression}") == ["--n", value]


@pytest.mark.parametrize(
    ("word", "value"),
    [("${A}b", "1b"), ("${A:-9}", "1"), ("${Z:-9}", "9"), ('${Z:-"9"}', "9"), ("${E:-9}", "9"), ("${E-9}", ""),
     ("${Z:=7}$Z", "77"), ("${A:+8}", "8"), ("'$A'", "$A"), ('"$A $A"', "1 1"), ("\\$A", "$A"), ('"\\$A"', "$A"),
     ("${L[1]}", "y"), ("$L", "x"), ("${L}", "x")],
)  # fmt: skip
def test_expansions(word: str, value: str) -> None:
    assert words(f'A=1\nE=""\nL=(x y)\npython t.py --v="{word}"' if word == "${E-9}" else
                 f'A=1\nE=""\nL=(x y)\npython t.py --v={word}') == [f"--v={value}"]  # fmt: skip


def test_what_is_not_known_is_marked() -> None:
    found = words("python t.py --a $SECRET --b $(hostname) --c $((SECRET*2)) --d ${X%.*} --e `date +%s` --f $((1 / 0))")
    marks = [word for word in found if UNSET in word]
    names = ("SECRET", "$(hostname)", "SECRET", "X%.*", "$(date +%s)", "$((1 / 0))")
    assert marks == [f"{UNSET}{name}{UNSET}" for name in names]


def test_words_of_the_user_behind_the_script() -> None:
    assert words("A=${1:-x}\nB=${12}\npython t.py $A $B $2", **{"12": "y", "2": "z"}) == ["x", "y", "z"]


def test_the_environment_counts_where_the_script_does_not_set() -> None:
    assert words("B=${B:-3}\nA=1\npython t.py $A $B $C", A="9", B="8", C="7") == ["1", "8", "7"]


@pytest.mark.parametrize(
    ("condition", "holds"),
    [('[ "$M" = 7b ]', True), ("[[ $M == 13b ]]", False), ("[[ $M == 7* && $N -gt 3 ]]", True), ("[ $N -le 3 ]", False),
     ('[ -z "$UNSET" ]', True), ('[ -n "${UNSET}" ]', False), ("! [ $N -eq 4 ]", False), ("[ ! $N -eq 5 ]", True),
     ("[ $N -eq 4 ] || [ $N -eq 5 ]", True), ("test $N -ne 4", False), ("[ $N -eq 5 ] && [ $N -eq 4 ]", False)],
)  # fmt: skip
def test_conditions(condition: str, holds: bool) -> None:
    script = f"M=7b\nN=4\nX=none\nif {condition}; then\n X=yes\nelse\n X=no\nfi\npython t.py $X"
    assert words(script) == ["yes" if holds else "no"]


def test_neither_branch_of_an_unknown_condition_is_read() -> None:
    script = read_script("X=0\nif [ -f a.txt ]; then X=1; else X=2; fi\npython t.py $X\n", "job.sh", {})
    assert script.commands[0].words[-1].text == "0"
    assert [(s.line, s.text) for s in script.skipped] == [(2, "if [ -f a.txt ] ;")]


def test_the_first_branch_that_holds_is_taken() -> None:
    script = "N=2\nif [ $N = 1 ]; then X=a; elif [ $N = 2 ]; then X=b; elif [ $N = 2 ]; then X=c; else X=d; fi\n"
    assert words(f"{script}python t.py $X") == ["b"]


def test_case() -> None:
    script = """
    case $MODEL in
        13b|14b) L=40; echo 7b ;;
        7b) L=32
            case $L in 32) H=4096 ;; *) H=1 ;; esac
            ;;
        *) L=1 ;;
    esac
    python t.py $L $H
    """
    assert words(f"MODEL=7b\n{script}") == ["32", "4096"]
    assert words(f"MODEL=14b\nH=0\n{script}") == ["40", "0"]
    assert words(f"MODEL=99b\nH=0\n{script}") == ["1", "0"]


def test_loops_and_functions_are_passed_over() -> None:
    text = "N=1\nusage() {\n N=2\n}\nfunction other {\n N=4; }\nfor i in 1 2; do N=3; done\npython t.py $N"
    script = read_script(text, "job.sh", {})
    assert script.commands[0].words[-1].text == "1"
    assert [s.line for s in script.skipped] == [2, 5, 7]
    assert not script.blocks


def test_and_or() -> None:
    script = "[ -z $A ] && A=1\n[ -z $A ] && A=2\n[ -n $A ] || A=3\ncd x && B=4\ncd x || B=5\npython t.py $A $B"
    assert words(script) == ["1", "4"]


@pytest.mark.parametrize(
    "command",
    ["eval $CMD", 'bash -c "$CMD"', "$CMD", "srun -l sh -c \"cd / && $CMD\"", "echo $CMD; $CMD", "time $CMD",
     "nohup $CMD > log 2>&1 &"],
)  # fmt: skip
def test_commands_handed_on(command: str) -> None:
    assert words(f'CMD="python t.py --a 1 --b ${{B}}"\n{command}'.replace("${B}", "$((1+1))")) == [
        "--a",
        "1",
        "--b",
        "2",
    ]


def test_documents_are_skipped() -> None:
    assert words("cat <<EOF > x.json\n python t.py --z 1\n A=5\nEOF\nA=${A:-4}\npython t.py $A") == ["4"]


def test_scheduler_headers() -> None:
    script = "#SBATCH --nodes=16\n#SBATCH --gpus-per-node=4\npython t.py $SLURM_NNODES $SLURM_GPUS_PER_NODE"
    assert words(script) == ["16", "4"]
    assert words("#SBATCH -N 3\n#SBATCH --gres=gpu:a100:8\npython t.py $SLURM_NNODES $SLURM_GPUS_PER_NODE") == [
        "3",
        "8",
    ]


def test_growth_is_bounded() -> None:
    doubling = "A=xxxxxxxxxxxxxxxx\n" + "A=$A$A\n" * 40 + "python t.py $A"
    with pytest.raises(InputError, match="grow beyond"):
        read_script(doubling, "job.sh", {})


@pytest.mark.parametrize(
    "text",
    ['"$(' * 5000, "${A:-" * 5000, "$((" * 3000, "(" * 5000, "if " * 5000, "case x in " * 2000, "A=(" * 3000,
     "`" * 4001, "<<E\n" * 100, "f() {" * 1000],
)  # fmt: skip
def test_what_nobody_closes(text: str) -> None:
    try:
        read_script(f"python t.py --a {text}\n{text}", "job.sh", {})
    except InputError as error:
        assert "\n" not in str(error)


@given(st.text(alphabet="ab$(){}[]\"'`\\|&;<>#=-+ \n0 if fi then case esac in done", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read_script(text, "job.sh", {"a": "1"})
    except InputError as error:
        assert "\n" not in str(error)
    assert "".join(t.text for t in tokens_of(text)).count("a") <= text.count("a")


@given(st.integers(-999, 999), st.integers(-999, 999), st.integers(1, 99))
def test_arithmetic_is_that_of_shells(a: int, b: int, c: int) -> None:
    assert expressions.whole(f"({a} + {b}) * {c}", "x") == (a + b) * c
    assert expressions.whole(f"({a} / {c}) * {c} + {a} % {c}", "x") == a
    assert abs(expressions.whole(f"({a}) % {c}", "x")) < c


@pytest.mark.parametrize(
    "text",
    ["1/0", "2**99999999", "__import__('os')", "a", "1.5", "'x'*9", "9" * 400, "10**18*10", "1e9", "[1]", "",
     "1 if 1 else 2", "(" * 250, "-" * 299 + "1 1", "f(1)", "True"],
)  # fmt: skip
def test_expressions_that_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="cannot be worked out"):
        expressions.whole(text, "x")


def test_lists() -> None:
    assert expressions.whole_list("[0]*3+[1]*2", "x") == [0, 0, 0, 1, 1]
    assert expressions.whole_list("([1]+[0])*2", "x") == [1, 0, 1, 0]
    for text in ("[1]*999999999", "[1]*(10**9)", "3", "[x]*2", "[[1]]*2 + 1"):
        with pytest.raises(InputError, match="cannot be worked out"):
            expressions.whole_list(text, "x")
