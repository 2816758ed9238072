"""The aws-chunked decoder, against AWS's published example and against bodies cut anywhere."""

import base64
import zlib
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from alula.api.objects.chunked import Chunks
from alula.api.objects.errors import S3Error
from alula.blobs.sigv4 import Credentials, Refused, Request, Verified, verify

# https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html, "Example calculations"
KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
FIRST = "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
SECOND = "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
LAST = "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
STREAMING = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def verified(payload: str = STREAMING) -> Verified:
    headers = {
        "host": "s3.amazonaws.com",
        "x-amz-date": "20130524T000000Z",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
        "x-amz-content-sha256": payload,
        "content-encoding": "aws-chunked",
        "x-amz-decoded-content-length": "66560",
        "content-length": "66824",
        "authorization": "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        "SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
        f"x-amz-decoded-content-length;x-amz-storage-class,Signature={SEED}",
    }
    request = Request("PUT", "/examplebucket/chunkObject.txt", [], headers)
    return verify(request, KEYS, datetime(2013, 5, 24, tzinfo=UTC))


def body(first: str = FIRST, second: str = SECOND, last: str = LAST, data: bytes = b"a" * 66560) -> bytes:
    return (
        f"10000;chunk-signature={first}\r\n".encode()
        + data[:65536]
        + f"\r\n400;chunk-signature={second}\r\n".encode()
        + data[65536:]
        + f"\r\n0;chunk-signature={last}\r\n\r\n".encode()
    )


@pytest.mark.parametrize("step", [1, 7, 1000, 10**6])
def test_the_published_example_decodes_however_it_is_cut(step: int) -> None:
    chunks, encoded = Chunks(verified()), body()
    decoded = b"".join(chunks.feed(encoded[at : at + step]) for at in range(0, len(encoded), step))
    assert chunks.finish() == {}
    assert decoded == b"a" * 66560


@pytest.mark.parametrize(
    "encoded",
    [body(first=SECOND), body(second=LAST), body(last=FIRST), body(data=b"a" * 66559 + b"b"), body(data=b"b" * 66560)],
)
def test_a_changed_chunk_is_refused(encoded: bytes) -> None:
    with pytest.raises(Refused) as error:
        Chunks(verified()).feed(encoded)
    assert error.value.code == "SignatureDoesNotMatch"


@pytest.mark.parametrize("end", [0, 10, 90, 65000, 66000, -86, -2, -1])
def test_a_body_that_stops_early_is_refused(end: int) -> None:
    chunks = Chunks(verified())
    chunks.feed(body()[:end])
    with pytest.raises(S3Error, match="does not end"):
        chunks.finish()


@pytest.mark.parametrize(
    "encoded",
    [
        b"5\r\nhello\r\n0\r\n\r\n",  # no signatures
        b"x;chunk-signature=" + FIRST.encode() + b"\r\n",
        b"-5;chunk-signature=" + FIRST.encode() + b"\r\n",
        b"5" * 5000,
    ],
)
def test_nonsense_is_refused(encoded: bytes) -> None:
    with pytest.raises(S3Error):
        Chunks(verified()).feed(encoded)


def unsigned() -> Verified:
    signed = verified()
    return Verified("STREAMING-UNSIGNED-PAYLOAD-TRAILER", signed.signature, signed.time, signed.scope, signed.key)


def test_a_trailer_is_given() -> None:
    chunks = Chunks(unsigned())
    crc = base64.b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()
    assert chunks.feed(f"5\r\nhello\r\n0\r\nX-Amz-Checksum-Crc32: {crc}\r\n\r\n".encode()) == b"hello"
    assert chunks.finish() == {"x-amz-checksum-crc32": crc}


@pytest.mark.parametrize(
    "encoded", [b"3\r\nhello\r\n0\r\n\r\n", b"0\r\n" + b"".join(b"a%d:b\r\n" % n for n in range(20))]
)
def test_a_body_with_wrong_sizes_or_endless_trailers_is_refused(encoded: bytes) -> None:
    with pytest.raises(S3Error):
        Chunks(unsigned()).feed(encoded)


@pytest.mark.parametrize(("signed_as", "refused"), [("crc:AAAA\n", False), ("crc:BBBB\n", True)])
def test_the_signature_of_a_trailer_is_checked(signed_as: str, refused: bool) -> None:
    seed = verified()
    trusted = Verified(STREAMING + "-TRAILER", seed.signature, seed.time, seed.scope, seed.key)
    last = trusted.sign_chunk(SEED, sha256(b"").hexdigest())
    trailer = trusted.sign_trailer(last, sha256(signed_as.encode()).hexdigest())
    encoded = f"0;chunk-signature={last}\r\ncrc:AAAA\r\nx-amz-trailer-signature:{trailer}\r\n\r\n".encode()
    chunks = Chunks(trusted)
    if refused:
        with pytest.raises(Refused):
            chunks.feed(encoded)
    else:
        chunks.feed(encoded)
        assert chunks.finish() == {"crc": "AAAA"}


def test_an_unknown_encoding_is_not_served() -> None:
    with pytest.raises(S3Error, match="not served"):
        Chunks(Verified("STREAMING-SOMETHING", "", "", "", b""))
