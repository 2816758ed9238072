"""Which keys can be, which cannot, and the files they become."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.blobs.names import path_of
from alula.blobs.uri import check_bucket, check_key, join, parse, parse_prefix
from alula.core.errors import Invalid

GOOD = ["a", "a b", "a%2Fb", "a+b?c#d", "ü/日本語/🙂", ".a/..b/...", "a/", "=/+", "x" * 250, "a/" * 500, "é" * 125]
BAD = ["", "/a", "a//b", "//", "/", "..", "a/..", "../a", "a/../b", ".", "a/./b", "a\x00", "a\nb", "a\x7f", "\ud800"]
ALULA = ("s3://alula",)
LONG = ["x" * 251, "é" * 126, "a/" + "x" * 251 + "/b", "ab/" * 342]


@pytest.mark.parametrize("key", GOOD)
def test_a_good_key_is_taken_as_it_is(key: str) -> None:
    assert parse(f"s3://alula/{key}", ALULA) == ("s3://alula", key)


@pytest.mark.parametrize("key", [*BAD, *LONG])
def test_a_bad_key_is_refused(key: str) -> None:
    with pytest.raises(Invalid):
        parse(f"s3://alula/{key}", ALULA)


@pytest.mark.parametrize(
    "uri", ["", "a", "/alula/a", "s3://other/a", "s3:///a", "s3://alula", "gs://alula/a", "S3://alula/a"]
)
def test_a_uri_from_elsewhere_is_refused(uri: str) -> None:
    with pytest.raises(Invalid):
        parse(uri, ALULA)


def test_a_prefix_may_end_anywhere() -> None:
    assert [parse_prefix(f"s3://alula{rest}", ALULA)[1] for rest in ("", "/", "/a", "/a/")] == ["", "", "a", "a/"]


def test_names_are_joined() -> None:
    assert join("s3://alula", "a", "b c/d%") == "s3://alula/a/b c/d%"
    assert join("s3://alula/a/", "b") == "s3://alula/a/b"


@pytest.mark.parametrize("names", [("..",), ("", "a"), ("a", "../b"), ("/a",), ("a/", "b"), ()])
def test_names_that_lead_elsewhere_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(Invalid):
        join("s3://alula", *names)


@pytest.mark.parametrize("bucket", ["", "ab", "Alula", "a_b", ".abc", "a..b", "a/b", "x" * 64])
def test_a_bad_bucket_is_refused(bucket: str) -> None:
    with pytest.raises(Invalid):
        check_bucket(bucket)


keys = st.text(st.sampled_from("a=+/.%ü "), min_size=1, max_size=12)


@given(keys, keys)
def test_different_keys_are_different_files_and_none_is_a_folder_of_another(one: str, two: str) -> None:
    try:
        paths = [path_of("top", check_key(one)), path_of("top", check_key(two))]
    except Invalid:
        return
    assert (paths[0] == paths[1]) == (one == two)
    assert not paths[1].startswith(paths[0] + "/")
    assert all(path.startswith("top/") and ".." not in path.split("/") for path in paths)
