"""Signatures, against AWS's published examples."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest

from alula.blobs.sigv4 import Credentials, Refused, Request, object_url, presign, verify
from alula.core.errors import Invalid

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOW = datetime(2013, 5, 24, tzinfo=UTC)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def signed(method: str, path: str, headers: dict[str, str], signature: str) -> Request:
    """A request of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    url = urlsplit(path)
    common = {"host": "examplebucket.s3.amazonaws.com", "x-amz-date": "20130524T000000Z"}
    headers = common | {"x-amz-content-sha256": EMPTY} | headers
    credential = f"{KEYS.key_id}/20130524/us-east-1/s3/aws4_request"
    names = ";".join(sorted(headers))
    claim = f"AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}"
    query = parse_qsl(url.query, keep_blank_values=True)
    return Request(method, url.path, query, headers | {"authorization": claim})


EXAMPLES = [
    signed(
        "GET", "/test.txt", {"range": "bytes=0-9"}, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    ),
    signed(
        "PUT",
        "/test%24file.text",
        {
            "date": "Fri, 24 May 2013 00:00:00 GMT",
            "x-amz-storage-class": "REDUCED_REDUNDANCY",
            "x-amz-content-sha256": "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        },
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    signed("GET", "/?lifecycle", {}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
    signed("GET", "/?max-keys=2&prefix=J", {}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
]


@pytest.mark.parametrize("request_", EXAMPLES)
def test_the_published_examples_verify(request_: Request) -> None:
    assert verify(request_, KEYS, NOW).scope == "20130524/us-east-1/s3/aws4_request"


@pytest.mark.parametrize("request_", EXAMPLES)
def test_a_changed_request_does_not(request_: Request) -> None:
    for changed in (
        Request("DELETE", request_.path, request_.query, request_.headers),
        Request(request_.method, request_.path + "x", request_.query, request_.headers),
        Request(request_.method, request_.path, [*request_.query, ("a", "b")], request_.headers),
        Request(request_.method, request_.path, request_.query, {**request_.headers, "host": "elsewhere"}),
    ):
        with pytest.raises(Refused) as error:
            verify(changed, KEYS, NOW)
        assert error.value.code == "SignatureDoesNotMatch"


def test_the_published_presigned_url_is_made() -> None:
    # https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
    url = presign("GET", "https://examplebucket.s3.amazonaws.com/test.txt", KEYS, expires=86400, now=NOW)
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def asked(url: str, **headers: str) -> Request:
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    return Request("PUT", parts.path, query, {"host": parts.netloc, **headers})


@pytest.mark.parametrize(
    ("after", "code"), [(0, ""), (59, ""), (60, ""), (61, "AccessDenied"), (-899, ""), (-901, "AccessDenied")]
)
def test_a_presigned_url_is_good_for_its_time(after: int, code: str) -> None:
    url = presign("PUT", object_url("http://h:1", "alula", "a b/ü%"), KEYS, expires=60, now=NOW)
    now = NOW + timedelta(seconds=after)
    if code:
        with pytest.raises(Refused) as error:
            verify(asked(url), KEYS, now)
        assert error.value.code == code
    else:
        assert verify(asked(url), KEYS, now).payload == "UNSIGNED-PAYLOAD"


@pytest.mark.parametrize(
    ("headers", "ok"),
    [
        ({"content-md5": "x", "x-amz-meta-a": "1"}, True),
        ({"content-md5": " x ", "x-amz-meta-a": "1", "accept": "*/*"}, True),
        ({"content-md5": "y", "x-amz-meta-a": "1"}, False),
        ({"x-amz-meta-a": "1"}, False),
        ({"content-md5": "x", "x-amz-meta-a": "1", "x-amz-copy-source": "/alula/b"}, False),
    ],
)
def test_signed_headers_must_be_sent_as_signed(headers: dict[str, str], ok: bool) -> None:
    extra = {"Content-MD5": "x", "x-amz-meta-a": "1"}
    url = presign("PUT", object_url("http://h:1", "alula", "a"), KEYS, expires=60, now=NOW, headers=extra)
    if ok:
        assert verify(asked(url, **headers), KEYS, NOW).time == "20130524T000000Z"
    else:
        with pytest.raises(Refused):
            verify(asked(url, **headers), KEYS, NOW)


@pytest.mark.parametrize("expires", [0, -1, 604_801])
def test_an_expiry_that_s3_would_not_take_is_refused(expires: int) -> None:
    with pytest.raises(Invalid):
        presign("GET", "http://h:1/alula/a", KEYS, expires=expires, now=NOW)


@pytest.mark.parametrize(
    "change", ["X-Amz-Expires=0", "X-Amz-Expires=9999999", "X-Amz-Date=x", "X-Amz-Algorithm=x", "X-Amz-Credential=x"]
)
def test_a_malformed_query_is_refused(change: str) -> None:
    url = presign("PUT", "http://h:1/alula/a", KEYS, expires=60, now=NOW)
    name = change.partition("=")[0]
    old = next(pair for pair in url.partition("?")[2].split("&") if pair.startswith(name))
    with pytest.raises((Invalid, Refused)):
        verify(asked(url.replace(old, change)), KEYS, NOW)


def test_the_secret_is_in_no_repr() -> None:
    url = presign("PUT", "http://h:1/alula/a", KEYS, expires=60, now=NOW)
    verified = verify(asked(url), KEYS, NOW)
    assert KEYS.secret not in repr(KEYS)
    assert repr(verified.key) not in repr(verified)
