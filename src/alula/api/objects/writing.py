"""PUT, copy and DELETE of objects, and uploads in parts."""

import re
from collections.abc import Mapping

from alula.api.objects import documents
from alula.api.objects.call import Call, Reply, split
from alula.api.objects.conditions import for_change, for_copy
from alula.api.objects.errors import S3Error, code_of
from alula.api.objects.threads import run
from alula.blobs.folder import Folder
from alula.blobs.multipart import Multipart, Upload
from alula.core.errors import DomainError, Invalid, NotFound

_KEPT = {"cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires"}
_META = "x-amz-meta-"
_META_BYTES = 2048  # S3's limit
_DOCUMENT = 4 * 1024 * 1024  # bytes; 10,000 parts or 1,000 keys of the longest kind take less
_BATCH = 1000
_SPAN = re.compile(r"bytes=([0-9]+)-([0-9]+)")


async def put(folder: Folder, call: Call) -> Reply:
    """Put an object, or a copy of one."""
    if "x-amz-copy-source" in call.headers:
        return await _copy(folder, call)
    headers = _headers(call.headers)
    with folder.stage() as staged:
        await call.body.save(staged.write)
        await run(folder.commit, staged, call.key, headers, condition=for_change(call.headers))
        return Reply(headers={"etag": f'"{staged.md5.hex()}"'})


async def delete(folder: Folder, call: Call) -> Reply:
    """Remove an object; fine if there is none."""
    await run(folder.delete, call.key, for_change(call.headers))
    return Reply(204)


async def delete_many(folder: Folder, call: Call) -> Reply:
    """Remove up to 1,000 objects, each with an outcome of its own."""
    asked = documents.read(await call.body.read(_DOCUMENT), "Delete")
    keys = [found.findtext("Key", "") for found in asked.findall("Object")]
    if not 1 <= len(keys) <= _BATCH:
        raise S3Error("MalformedXML", f"Delete: name 1 to {_BATCH} objects")
    quiet = asked.findtext("Quiet") == "true"

    def remove() -> list[tuple[str, documents.Content]]:
        outcomes: list[tuple[str, documents.Content]] = []
        for key in keys:
            try:
                folder.delete(key)
            except DomainError as error:
                outcomes.append(("Error", [("Key", key), ("Code", code_of(error)), ("Message", str(error))]))
            else:
                outcomes += [] if quiet else [("Deleted", [("Key", key)])]
        return outcomes

    return _document("DeleteResult", await run(remove))


async def begin(uploads: Multipart, call: Call) -> Reply:
    """Begin an upload in parts."""
    upload = uploads.begin(call.key, _headers(call.headers))
    about = [("Bucket", call.bucket), ("Key", call.key), ("UploadId", upload.id)]
    return _document("InitiateMultipartUploadResult", about)


async def put_part(uploads: Multipart, call: Call) -> Reply:
    """Put one part of an upload, or a copy of a range of an object as one."""
    upload = _upload(call)
    number = _number(call.query["partNumber"])
    try:
        if "x-amz-copy-source" in call.headers:
            return await _copy_part(uploads, call, upload, number)
        with uploads.stage(upload) as staged:
            await call.body.save(staged.write)
            await run(uploads.keep, upload, number, staged)
            return Reply(headers={"etag": f'"{staged.md5.hex()}"'})
    except NotFound as error:
        raise _no_upload(error) from None


async def complete(uploads: Multipart, call: Call) -> Reply:
    """Make the parts of an upload an object."""
    asked = documents.read(await call.body.read(_DOCUMENT), "CompleteMultipartUpload")
    chosen = [
        (_number(part.findtext("PartNumber", "")), part.findtext("ETag", "").strip().strip('"'))
        for part in asked.findall("Part")
    ]
    try:
        etag = await run(uploads.complete, _upload(call), chosen, for_change(call.headers))
    except NotFound as error:
        raise _no_upload(error) from None
    except Invalid as error:
        raise S3Error("InvalidPart", str(error)) from None
    location = f"/{call.bucket}/{call.key}"
    about = [("Location", location), ("Bucket", call.bucket), ("Key", call.key), ("ETag", f'"{etag}"')]
    return _document("CompleteMultipartUploadResult", about)


async def abort(uploads: Multipart, call: Call) -> Reply:
    """Forget an upload."""
    try:
        await run(uploads.abort, _upload(call))
    except NotFound as error:
        raise _no_upload(error) from None
    return Reply(204)


async def list_parts(uploads: Multipart, call: Call) -> Reply:
    """The parts of an upload that are there, all on one page."""
    try:
        parts = await run(lambda: list(uploads.parts(_upload(call))))
    except NotFound as error:
        raise _no_upload(error) from None
    about: list[tuple[str, documents.Content]] = [
        ("Bucket", call.bucket),
        ("Key", call.key),
        ("UploadId", call.query["uploadId"]),
        ("IsTruncated", "false"),
    ]
    for number, meta in parts:
        size, modified = str(meta.size), documents.time(meta.modified)
        part = [("PartNumber", str(number)), ("ETag", f'"{meta.etag}"'), ("Size", size), ("LastModified", modified)]
        about.append(("Part", part))
    return _document("ListPartsResult", about)


async def _copy(folder: Folder, call: Call) -> Reply:
    source = _source(folder, call)
    replace = call.headers.get("x-amz-metadata-directive", "COPY").upper() == "REPLACE"
    if source == call.key and not replace:
        raise S3Error(
            "InvalidArgument", "an object cannot be copied to itself without x-amz-metadata-directive: REPLACE"
        )
    await run(folder.copy, source, call.key, _headers(call.headers) if replace else None, for_change(call.headers))
    meta = folder.stat(call.key)
    if meta is None:
        raise NotFound(f"{call.key} was removed right after it was copied")
    return _document("CopyObjectResult", [("ETag", f'"{meta.etag}"'), ("LastModified", documents.time(meta.modified))])


async def _copy_part(uploads: Multipart, call: Call, upload: Upload, number: int) -> Reply:
    asked = call.headers.get("x-amz-copy-source-range")
    found = _SPAN.fullmatch(asked or "")
    if asked and not found:
        raise S3Error("InvalidArgument", "x-amz-copy-source-range: must be bytes=first-last")
    span = (int(found[1]), int(found[2]) + 1) if found else None
    meta = await run(uploads.copy, upload, number, _source(uploads.folder, call), span)
    return _document("CopyPartResult", [("ETag", f'"{meta.etag}"'), ("LastModified", documents.time(meta.modified))])


def _source(folder: Folder, call: Call) -> str:
    path = call.headers["x-amz-copy-source"].partition("?")[0]
    bucket, key = split("/" + path.removeprefix("/"))
    if bucket != call.bucket:
        raise S3Error("NoSuchBucket", f"x-amz-copy-source: there is no bucket {bucket!r} here")
    condition = for_copy(call.headers)
    meta = folder.stat(key)
    if meta is None:
        raise S3Error("NoSuchKey", f"x-amz-copy-source: there is no object s3://{bucket}/{key}")
    if condition is not None and not condition(meta):
        raise S3Error("PreconditionFailed", "x-amz-copy-source: the object is not the one that the request asks for")
    return key


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What is kept of a request's headers, to be sent with the object."""
    kept = {name: value for name, value in headers.items() if name in _KEPT or name.startswith(_META)}
    if sum(len(name) + len(value) for name, value in kept.items() if name.startswith(_META)) > _META_BYTES:
        raise S3Error("MetadataTooLarge", f"x-amz-meta-*: at most {_META_BYTES} bytes in all")
    codings = [coding.strip() for coding in kept.pop("content-encoding", "").split(",")]
    if rest := ", ".join(coding for coding in codings if coding not in ("", "aws-chunked")):
        kept["content-encoding"] = rest
    return kept


def _upload(call: Call) -> Upload:
    return Upload(call.key, call.query["uploadId"])


def _number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text):
        raise S3Error("InvalidArgument", f"partNumber: must be a number, is {text[:20]!r}")
    return int(text)


def _no_upload(error: NotFound) -> S3Error:
    return S3Error("NoSuchUpload", str(error))


def _document(name: str, content: list[tuple[str, documents.Content]] | list[tuple[str, str]]) -> Reply:
    return Reply(headers={"content-type": "application/xml"}, body=documents.write(name, content))
