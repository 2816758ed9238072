"""The embedded object store's door: enough of S3, at ``/<bucket>/<key>``, for real clients and presigned URLs."""

from alula.api.objects.door import ObjectsDoor

__all__ = ["ObjectsDoor"]
