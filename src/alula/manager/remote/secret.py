"""Secrets of the cluster, read when they are needed."""

from base64 import b64decode
from collections.abc import Mapping

from alula.core.errors import Unavailable
from alula.kube.client import Kube
from alula.kube.objects import SECRETS, KubeError, Name, NotFound, Refused


class Secrets:
    """Reads them, and keeps nothing."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube

    async def __call__(self, namespace: str, name: str) -> Mapping[str, str]:
        """What is in a Secret, as far as it is text; nothing if there is none.

        Raises:
            Unavailable: it cannot be read for now, or the Manager is not allowed to.
        """
        try:
            found = await self._kube.get(SECRETS, Name(namespace, name))
        except NotFound:
            return {}
        except Refused as error:
            raise Unavailable(
                f"the Manager has no right to read Secrets, which a task of a connector needs: {error}"
            ) from None
        except KubeError as error:
            raise Unavailable(f"the Secret {name} cannot be read: {error}") from None
        texts = {key: _text(value) for key, value in (found.get("data") or {}).items()}
        return {key: text for key, text in texts.items() if text is not None}


def _text(value: str) -> str | None:
    try:
        return b64decode(value).decode()
    except ValueError:
        return None
