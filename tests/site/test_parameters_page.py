"""The page of parameters tells each of them once, with the value of conf/base and its comment."""

import re

import pytest
import yaml

from dcr.parameters import Section
from dcr.parameters.section import Checked
from parameters_page import parameters_page
from project import PROJECT

BASE = PROJECT / "conf" / "base"


@pytest.fixture(scope="module")
def page():
    return parameters_page(BASE)


def names_of(cls, prefix):
    for name, field in cls.model_fields.items():
        kind = field.annotation
        nested = isinstance(kind, type) and issubclass(kind, Checked)
        yield from names_of(kind, f"{prefix}{name}.") if nested else [f"{prefix}{name}"]


def test_each_parameter_is_told_once(page):
    told = re.findall(r"^\*\*`([^`]+)`\*\*", page, flags=re.MULTILINE)
    sections = {
        cls.__name__.removesuffix("Parameters").lower(): cls for cls in Section.__subclasses__()
    }
    known = {name for section, cls in sections.items() for name in names_of(cls, f"{section}.")}
    assert len(told) == len(set(told))
    assert known == {name for name in told if "." in name}


def test_each_parameter_has_a_comment_or_its_section_has(page):
    entry = re.compile(r"^\*\*`[^`]+`\*\*")
    for section in re.split(r"^##+ ", page, flags=re.MULTILINE)[2:]:
        heading, *blocks = [block for block in section.split("\n\n") if block.strip()]
        blocks = [block for block in blocks if not block.startswith("*") or entry.match(block)]
        is_name = [bool(entry.match(block)) for block in blocks]
        bare = [
            first
            for first, second in zip(is_name, [*is_name[1:], True], strict=True)
            if first and second
        ]
        assert not bare or not is_name[0], heading


def test_values_and_kinds_are_those_of_yaml_and_classes(page):
    training = yaml.safe_load((BASE / "parameters_training.yml").read_text())["training"]
    temperature = training["loss"]["temperature"]
    assert f"**`training.loss.temperature`** number > 0, here `{temperature}`\n" in page
    assert '**`training.mixed_precision`** `no`, `bf16` or `fp16`, here `"no"`\n' in page
    assert "**`validation.cluster`** text or null, here `null`\n" in page


def test_a_comment_that_is_changed_changes_the_page(tmp_path):
    for path in BASE.glob("*.yml"):
        text = path.read_text(encoding="utf-8").replace("tau of the contrast.", "A <new> word.")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    assert r"A \<new\> word." in parameters_page(tmp_path)
