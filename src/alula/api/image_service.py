"""`flyteidl2.imagebuilder.ImageService`."""

from flyteidl2.imagebuilder import definition_pb2, payload_pb2

from alula.control.images import Images
from alula.rpc.service import Context


class ImageService:
    """Which images there are. The SDK takes any error for "not there", and goes on to the task `build-image`."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def get_image(self, request: payload_pb2.GetImageRequest, context: Context) -> payload_pb2.GetImageResponse:
        """Find an image that attempts can run in; NOT_FOUND tells a client to build it."""
        found = await self._images.find(request.id.name)
        return payload_pb2.GetImageResponse(image=definition_pb2.Image(id=request.id, fqin=found))
