"""Values that Hydra's grammar does not take as they stand, and what a person is told about the others."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from lstm_bench import command, sweep
from lstm_bench.config import conf_dir, load

NAMES = [
    "run=3.npz",
    "données.npz",
    "数据.npz",
    "x[1].npz",
    "a#b.npz",
    "data (1).npz",
    "it's,a{b}.npz",
    'say "a".npz',
    "a:b%c~d!e&f+g$h|i;j<k>.npz",
    " led by a blank",
    "a\\b'c\\",
    "'",
    "'a'b'",
    "3",
    "true",
    "~/a b.npz",
]


def read(override: str) -> object:
    """What Hydra takes the value of an override for."""
    (argument,) = command._arguments([override])
    return OverridesParser.create().parse_override(argument).value()


@pytest.mark.parametrize("key", ["dataset.path", "+dataset.dir", "++storage.url", "tracking.uri", "study.description"])
@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_taken_as_it_stands(key: str, name: str) -> None:
    assert read(f"{key}={name}") == name


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("'a b.npz'", "a b.npz"),
        ('"a=b.npz"', "a=b.npz"),
        (r"a\=b\ c.npz", "a=b c.npz"),
        ("null", None),
        ("", ""),
        ("${oc.env:HOME}/a b.npz", "${oc.env:HOME}/a b.npz"),
        (r"\${a}.npz", r"\${a}.npz"),  # OmegaConf takes the backslash for what it is: ${a}.npz
    ],
)
def test_a_path_that_hydra_can_read_keeps_its_meaning(value: str, want: str | None) -> None:
    assert read(f"dataset.path={value}") == want


def test_several_paths_are_asked_for_by_choice() -> None:
    assert command._arguments(["-m", "dataset.path=choice(a.npz,b.npz)"]) == ["-m", "dataset.path=choice(a.npz,b.npz)"]


def test_other_values_are_left_to_hydra() -> None:
    given = ["model.units=32", "train.optimizer=adam", "study.name=a b"]
    assert command._arguments(given) == given


@pytest.mark.parametrize("name", [*NAMES, r"\${a}.npz"])
def test_a_path_comes_into_the_configuration(name: str) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir())):
        line = command._arguments(["+study=smoke", "dataset=npz", f"dataset.path={name}"])
        found = load(compose("sweep", line))["dataset"]["path"]
    assert found == name.replace("\\$", "$")


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("study.name=a=b", "study.name=a=b: unreadable. A text is quoted twice: 'study.name=\"a=b\"'"),
        ("study.name=é", "study.name=é: unreadable. A text is quoted twice: 'study.name=\"é\"'"),
        (
            "study.name=it's",
            "study.name=it's: unreadable. A text is quoted twice: 'study.name=\"it'\"'\"'s\"'",
        ),
        (
            "study.name=a,b",
            "study.name=a,b: several values, which need -m. A text is quoted twice: 'study.name=\"a,b\"'",
        ),
        (
            "study.name=f(1)",
            "study.name=f(1): 'f(1)': Unknown function 'f'. A text is quoted twice: 'study.name=\"f(1)\"'",
        ),
        ("a b=3", "a b=3: expected KEY=VALUE"),
        ("+study=a=b", "+study=a=b: unreadable. A text is quoted twice: '+study=\"a=b\"'"),
    ],
)
def test_what_hydra_cannot_read_is_one_line_with_its_quoting(
    argument: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep.main(["+study=smoke", argument]) == 2
    assert capsys.readouterr().err == f"error: {said}\n"
