"""Patterns select names, and further patterns only keep more."""

from __future__ import annotations

import fnmatch
import itertools
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from acr_cleanup.core.inventory import RepositoryInventory
from acr_cleanup.core.planning import plan_repository
from acr_cleanup.core.policy import Evidence, eligible_repositories, keep_reasons
from acr_cleanup.core.retention import RetentionPolicy, Scope
from acr_cleanup.core.selection import PatternRefused, captured, compiled, patterns
from tests.helpers.generated_inventories import NOW, REPOSITORY, inventory, tag, usage

NONE = RetentionPolicy(exclude_tags=())


def deleted_by(policy: RetentionPolicy, *names: str) -> set[str]:
    """The deleted ones of these tags. All are old and unused, the first is the oldest."""
    repository = inventory(tag(name, number, days=900 - number) for number, name in enumerate(names, 1))
    return {decision.tag.name for decision in plan_repository(repository, usage(), policy, NOW).deletions}


# -- globs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "selected"),
    [
        (("*",), {"v1", "v2", "V1", "pr-1", "pr-2-keep"}),
        (("v*",), {"v1", "v2"}),
        (("v*", "pr-?"), {"v1", "v2", "pr-1"}),
        (("v*", "!v2"), {"v1"}),
        (("!v*",), {"V1", "pr-1", "pr-2-keep"}),
        (("!v*", "!*-keep"), {"V1", "pr-1"}),
        (("[!v]*",), {"V1", "pr-1", "pr-2-keep"}),
        (("![!v]*",), {"v1", "v2"}),
        (("v1", "!v1"), set()),
        (("!*",), set()),
        ((), set()),
        (("v",), set()),
    ],
)
def test_globs_select_whole_names(written: tuple[str, ...], selected: set[str]) -> None:
    """
    Any positive pattern and no `!` pattern.

    Only `!` patterns select all other names; an empty list selects none.
    """
    names = {"v1", "v2", "V1", "pr-1", "pr-2-keep"}
    assert {name for name in names if patterns(written).select(name)} == selected
    assert deleted_by(replace(NONE, include_tags=written), *names) == selected


@settings(deadline=None)
@given(st.permutations(["v*", "!v2*", "pr-*", "!*-keep", "[!a]1"]))
def test_order_of_patterns_does_not_matter(written: list[str]) -> None:
    names = ("v1", "v2", "v2-keep", "v1-keep", "pr-1", "a1", "b1")
    assert [name for name in names if patterns(tuple(written)).select(name)] == ["v1", "pr-1", "b1"]


# -- regular expressions ---------------------------------------------------------------------------


def test_regular_expression_must_match_the_whole_name() -> None:
    policy = replace(NONE, use_regex=True, include_tags=(r"v\d+", "dev|dev-.*", "!dev-keep.*"))
    names = ("v1", "v12", "v1-rc", "xv1", "V1", "dev", "dev-1", "device", "dev-keep", "dev-keep-1")
    assert deleted_by(policy, *names) == {"v1", "v12", "dev", "dev-1"}


def test_regular_expression_may_contain_commas_and_slashes() -> None:
    policy = RetentionPolicy(scope=Scope.ALL, use_regex=True, repositories=("v{1,3}/.*", "!.*/b"))
    assert eligible_repositories(usage(), policy, ("v/a", "vvv/a/c", "vvvv/a", "v/a/b")) == ("v/a", "vvv/a/c")


@pytest.mark.parametrize("everything", ["*", ".*"])
def test_star_selects_everything_with_use_regex(everything: str) -> None:
    """The defaults are globs, and mean the same with `use_regex`."""
    policy = RetentionPolicy(use_regex=True, repositories=(everything,), include_tags=(everything,))
    assert deleted_by(policy, "1.0", "a-b", "latest") == {"1.0", "a-b"}
    assert eligible_repositories(usage(), policy) == (REPOSITORY,)
    assert deleted_by(replace(policy, exclude_tags=(everything,)), "1.0") == set()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(?=a)b", r"invalid perl operator: (?="),
        ("(?!a).*", r"invalid perl operator: (?!"),
        ("(?<!a)b", r"invalid perl operator: (?<"),
        (r"(a)\1", r"invalid escape sequence: \1"),
        ("[a", "missing ]: [a"),
        ("a++", "bad repetition operator: ++"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("((a{100}){100}){100}", "invalid repetition size: {100}"),
        ("\ud800", "it is not valid Unicode text"),
    ],
)
def test_invalid_expression_is_refused_with_the_reason_of_re2(
    pattern: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """RE2 writes nothing to stderr."""
    with pytest.raises(PatternRefused) as caught:
        patterns((pattern,), use_regex=True)
    assert str(caught.value).startswith(message)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((b"no: \xff", 7), "no: \ufffd"), (("no",), "no"), ((), "")],
    ids=["bytes", "text", "nothing"],
)
def test_reason_of_re2_is_text(arguments: tuple[object, ...], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of RE2 differ in the type of their message."""
    re2 = pytest.importorskip("re2")

    def refuse(*_: object) -> None:
        raise re2.error(*arguments)

    monkeypatch.setattr(re2, "compile", refuse)
    with pytest.raises(PatternRefused) as caught:
        compiled(f"never asked for before, {message}")
    assert str(caught.value) == message


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*", "(a|aa)+", "(.*a){20}", "(a*)*b", "a{0,1000}a{0,1000}"])
def test_no_pattern_is_slow(pattern: str) -> None:
    """Ten thousand tags of the maximum length. A backtracking engine would not finish the first."""
    names = ["a" * 126 + f"{first}{second}" for first, second in itertools.product("ab", "b!")] * 2500
    selected = patterns((pattern,), use_regex=True)
    assert len(names) == 10_000
    assert all(len(name) == 128 for name in names)
    assert not any(selected.select(name) for name in names if name.endswith("!"))
    assert captured("(a+)+$", "a" * 128) == "a" * 128 if pattern == "(a+)+$" else True


def test_memory_of_a_pattern_is_bounded() -> None:
    assert compiled("v.*").options.max_mem <= 16 << 20
    assert not compiled("v.*").options.log_errors


def test_re2_is_loaded_only_for_regular_expressions() -> None:
    """Most runs have none, and loading it would delay the start."""
    code = (
        "import sys, acr_cleanup.core.plan, acr_cleanup.settings\n"
        "from acr_cleanup.core.selection import patterns\n"
        "assert patterns(('a*', '!ab')).select('ac')\n"
        "print('re2' in sys.modules)\n"
        "patterns(('a.*',), use_regex=True)\n"
        "print('re2' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.split() == ["False", "True"]


names = st.text("aAbv01.-_/", min_size=1, max_size=8)
globs = st.lists(
    st.one_of(st.sampled_from(["*", "?", "[ab]", "[!a]", "[0-9]"]), st.sampled_from("abAv01.-_/")),
    min_size=1,
    max_size=6,
).map("".join)


def as_regex(glob: str) -> str:
    """The glob as an RE2 expression. RE2 has no atomic groups, and spells the end `\\z`."""
    return fnmatch.translate(glob).replace("(?>", "(?:").replace("\\Z", "\\z")


@given(globs, names)
@example("*a*b", "aab")
@example("[!a]*", "ba")
@example("a.b", "axb")
@settings(max_examples=250, deadline=None)
def test_glob_and_its_regular_expression_select_the_same(glob: str, name: str) -> None:
    for sign in ("", "!"):
        by_glob = patterns((sign + glob,)).select(name)
        assert by_glob is patterns((sign + as_regex(glob),), use_regex=True).select(name)
        assert by_glob is (fnmatch.fnmatchcase(name, glob) is not bool(sign))


# -- further options only keep more --------------------------------------------------------------

TAGS = ["1.0", "1.1", "1.2-dev", "2.0", "2.1-dev", "dev-1", "dev-2", "main-1", "latest", "v1"]
GLOBS = ["1.*", "*-dev", "dev-?", "[!1]*", "*", "latest", "v1", "main-*"]
GROUPS = ["^(dev|main)-", r"^(\d+)\.", "(-)", "(.)$", "(.*)", "^(?:x|(1))"]

worlds = st.lists(
    st.tuples(st.sampled_from(TAGS), st.integers(0, 5), st.sampled_from([None, 1, 40, 41, 42, 50])),
    unique_by=lambda drawn: drawn[0],
).map(lambda tags: inventory([tag(name, digest, days=days) for name, digest, days in tags]))
some_globs = st.lists(st.sampled_from(GLOBS), max_size=3, unique=True)
policies = st.builds(
    lambda include, deny, exclude, last, by: RetentionPolicy(
        include_tags=(*include, *(f"!{glob}" for glob in deny)),
        exclude_tags=tuple(exclude),
        keep_last=last,
        keep_last_by=by if last else "",
    ),
    st.lists(st.sampled_from(GLOBS), min_size=1, max_size=3, unique=True),
    some_globs,
    some_globs,
    st.integers(0, 3),
    st.sampled_from(["", *GROUPS]),
)


def with_regexes(policy: RetentionPolicy) -> RetentionPolicy:
    def regexes(written: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"!{as_regex(one[1:])}" if one.startswith("!") else as_regex(one) for one in written)

    return replace(
        policy,
        use_regex=True,
        repositories=regexes(policy.repositories),
        include_tags=regexes(policy.include_tags),
        exclude_tags=regexes(policy.exclude_tags),
    )


def stricter(policy: RetentionPolicy, extra: str, by: str) -> dict[str, RetentionPolicy]:
    """Every way of saying one thing more."""
    wanted = [pattern for pattern in policy.include_tags if not pattern.startswith("!")]
    stricter_policies = {
        "exclude": replace(policy, exclude_tags=(*policy.exclude_tags, extra)),
        "deny": replace(policy, include_tags=(*policy.include_tags, f"!{extra}")),
        "deny first": replace(policy, include_tags=(f"!{extra}", *policy.include_tags)),
        "deny repository": replace(policy, repositories=(*policy.repositories, f"!{extra}")),
        "no repository": replace(policy, repositories=()),
        "no tag": replace(policy, include_tags=()),
        "newest": replace(policy, keep_last=policy.keep_last + 1),
    }
    if len(wanted) > 1:
        stricter_policies["include"] = replace(
            policy, include_tags=tuple(x for x in policy.include_tags if x != wanted[0])
        )
    if policy.keep_last and not policy.keep_last_by:
        stricter_policies["by"] = replace(policy, keep_last_by=by)
    return stricter_policies


@given(worlds, policies, st.sampled_from(GLOBS), st.sampled_from(GROUPS))
@settings(max_examples=100, deadline=None)
def test_further_options_only_add_reasons_to_keep(
    repository: RepositoryInventory, policy: RetentionPolicy, extra: str, by: str
) -> None:
    """With globs and with regular expressions, which decide the same."""
    before = keep_reasons(Evidence(repository, usage(), policy, NOW))
    gone = {decision.tag for decision in plan_repository(repository, usage(), policy, NOW).deletions}
    for what, more in stricter(policy, extra, by).items():
        for variant in (more, with_regexes(more)):
            now = keep_reasons(Evidence(repository, usage(), variant, NOW))
            for name, reasons in before.items():
                assert {reason.rule for reason in reasons} <= {reason.rule for reason in now.get(name, ())}, what
            assert {
                decision.tag for decision in plan_repository(repository, usage(), variant, NOW).deletions
            } <= gone, what
    assert with_regexes(policy) != policy
    assert {
        decision.tag for decision in plan_repository(repository, usage(), with_regexes(policy), NOW).deletions
    } == gone
