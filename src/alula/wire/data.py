"""Uploads, downloads and logs."""

from collections.abc import Sequence
from datetime import timedelta

from flyteidl2.common import run_pb2
from flyteidl2.dataproxy import dataproxy_service_pb2 as pb
from flyteidl2.logs.dataplane import payload_pb2

from alula.core.launch import LogLine, Originator
from alula.core.signed import Signed, Upload
from alula.wire import times

_DEFAULT_EXPIRY = timedelta(hours=1)
_ORIGINATORS = {Originator.USER: payload_pb2.USER, Originator.SYSTEM: payload_pb2.SYSTEM}


def upload(message: pb.CreateUploadLocationRequest) -> Upload:
    return Upload(
        project=message.project,
        domain=message.domain,
        filename=message.filename,
        root=message.filename_root,
        md5=message.content_md5,
        expires=expiry(message),
    )


def expiry(message: pb.CreateUploadLocationRequest | pb.CreateDownloadLinkRequest) -> timedelta:
    """How long a URL is to be good for; what no timedelta can hold is longer than any limit."""
    if not message.HasField("expires_in"):
        return _DEFAULT_EXPIRY
    try:
        return timedelta(seconds=times.seconds(message.expires_in))
    except OverflowError:
        return timedelta.max


def upload_message(signed: Signed) -> pb.CreateUploadLocationResponse:
    return pb.CreateUploadLocationResponse(
        signed_url=signed.url,
        native_url=signed.uri,
        expires_at=times.timestamp(signed.expires_at),
        headers=signed.headers,
    )


def download_message(signed: Signed) -> pb.CreateDownloadLinkResponse:
    urls = pb.PreSignedURLs(signed_url=[signed.url], expires_at=times.timestamp(signed.expires_at))
    return pb.CreateDownloadLinkResponse(pre_signed_urls=urls)


def place(message: pb.UploadInputsRequest) -> tuple[str, str]:
    """The project and domain that inputs are uploaded to."""
    if message.WhichOneof("id") == "run_id":
        return message.run_id.project, message.run_id.domain
    return message.project_id.name, message.project_id.domain


def inputs_message(uri: str, content: str) -> pb.UploadInputsResponse:
    return pb.UploadInputsResponse(offloaded_input_data=run_pb2.OffloadedInputData(uri=uri, inputs_hash=content))


def logs_message(lines: Sequence[LogLine], attempt: int) -> pb.TailLogsResponse:
    """A batch of lines; each keeps its line end, as the protocol says and the SDK's printing needs."""
    messages = [
        payload_pb2.LogLine(
            timestamp=times.timestamp(line.at), message=line.text, originator=_ORIGINATORS[line.originator]
        )
        for line in lines
    ]
    container = payload_pb2.ContainerIdentifier(
        cluster_name="local",
        kubernetes_namespace="local",
        kubernetes_pod_name=f"attempt-{attempt}",
        kubernetes_container_name="main",
    )
    return pb.TailLogsResponse(logs=[pb.TailLogsResponse.Logs(lines=messages, container=container)])
