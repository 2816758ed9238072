"""How the buckets of a provider are reached: by S3, Google Cloud Storage or Azure, with keys or by an identity.

Without keys, obstore finds out who this process is: by AWS's chain (IRSA among it), Google's application default
credentials, or Azure's workload identity. So do tasks, by the same library.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from alula.core.errors import Invalid

if TYPE_CHECKING:
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    from alula.base.settings import Objects

_TIMEOUT = "60s"  # of a request
_RETRIES = 4  # of what fails by the network or by the store's own fault
_PATIENCE = timedelta(seconds=20)  # for all of them; who asks tries again later
KEYS = {  # the variables of tasks that hold keys, as everybody knows them
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT_KEY",),
    "abfs": ("AZURE_STORAGE_ACCOUNT_KEY",),
}
_OF_THE_SDK = ("FLYTE_AWS_ACCESS_KEY_ID", "FLYTE_AWS_SECRET_ACCESS_KEY")


@dataclass(frozen=True, slots=True)
class Account:
    """One, of one provider.

    ``name`` is Azure's storage account; ``key_id`` the access key of S3; ``secret`` what belongs to it: S3's secret,
    Azure's account key, or the JSON of a Google service account. ``endpoint`` "" is the provider's own.
    """

    endpoint: str = ""
    region: str = "us-east-1"
    name: str = ""
    key_id: str = ""
    secret: str = field(default="", repr=False)

    @classmethod
    def of(cls, told: "Objects") -> Self:
        """The one that a configuration names."""
        return cls(told.endpoint, told.region, told.account, str(told.key_id), str(told.secret))

    def at(self, endpoint: str) -> "Account":
        """The same account, reached at another URL."""
        return replace(self, endpoint=endpoint)


def store(bucket: str, account: Account) -> "S3Store | GCSStore | AzureStore":
    """A bucket by its URI, as obstore has it."""
    from obstore.store import AzureStore, GCSStore, S3Store  # it takes a while, and most have a folder

    scheme, _, name = bucket.partition("://")
    client: ClientConfig = {"timeout": _TIMEOUT, "allow_http": account.endpoint.startswith("http://")}
    retries: RetryConfig = {"max_retries": _RETRIES, "retry_timeout": _PATIENCE}
    config: Any
    match scheme:
        case "s3":
            config = _given(
                endpoint=account.endpoint,
                region=account.region,
                access_key_id=account.key_id,
                secret_access_key=account.secret,
                virtual_hosted_style_request="false",
            )
            return S3Store(name, config=config, client_options=client, retry_config=retries)
        case "gs":
            config = _given(service_account_key=account.secret, base_url=account.endpoint)
            return GCSStore(name, config=config, client_options=client, retry_config=retries)
        case "abfs":
            config = _given(account_name=account.name, account_key=account.secret, endpoint=account.endpoint)
            return AzureStore(name, config=config, client_options=client, retry_config=retries)
    raise Invalid(f"bucket {bucket!r} is of no store that is known here")


def variables(bucket: str, account: Account) -> Mapping[str, str]:
    """What tells a task's SDK, and the libraries it may use besides, how the buckets are reached."""
    match bucket.partition("://")[0]:
        case "s3":
            return {
                **_given(FLYTE_AWS_ENDPOINT=account.endpoint),
                **_given(FLYTE_AWS_ACCESS_KEY_ID=account.key_id, FLYTE_AWS_SECRET_ACCESS_KEY=account.secret),
                "AWS_REGION": account.region,
                **_given(AWS_ENDPOINT_URL=account.endpoint),
                **_given(AWS_ACCESS_KEY_ID=account.key_id, AWS_SECRET_ACCESS_KEY=account.secret),
            }
        case "gs":
            return _given(GOOGLE_BASE_URL=account.endpoint, GOOGLE_SERVICE_ACCOUNT_KEY=account.secret)
    return _given(
        AZURE_STORAGE_ACCOUNT_NAME=account.name,
        AZURE_STORAGE_ACCOUNT_KEY=account.secret,
        AZURE_STORAGE_ENDPOINT=account.endpoint,
    )


def keys(variables: Mapping[str, str]) -> dict[str, str]:
    """Those of a task's variables that hold keys."""
    names = {*_OF_THE_SDK, *(name for names in KEYS.values() for name in names)}
    return {name: value for name, value in variables.items() if name in names}


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
