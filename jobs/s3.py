"""S3 and S3-compatible stores through boto3, with the standard credential chain."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, TypeVar, cast

import boto3.session
import botocore.exceptions as aws
import urllib3.exceptions
from botocore import UNSIGNED
from botocore.config import Config

from jobs.storage import DEFAULT_STORAGE, ObjectError, ObjectInfo, Storage, StorageConfig, StorageError

_Result = TypeVar("_Result")
_BUFFER_BYTES = 1024 * 1024
_BODY_ERRORS = (
    aws.ResponseStreamingError,
    aws.IncompleteReadError,
    aws.ReadTimeoutError,
    aws.ConnectionError,
    aws.HTTPClientError,
    urllib3.exceptions.HTTPError,
    ConnectionError,
    TimeoutError,
)
_MISSING = ("NoSuchKey", "404", "NotFound")
_TYPES = {  # so that a browser shows what a link leads to; not from the system's own tables, which differ
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "obj": "model/obj",
    "mtl": "model/mtl",
    "glb": "model/gltf-binary",
    "parquet": "application/vnd.apache.parquet",
}
_ADVICE = {
    "NoSuchBucket": "no such bucket: create it, or check its name, the endpoint and the region",
    "AccessDenied": "access denied: the credentials in use lack permission for this bucket or key",
    "403": "access denied: the credentials in use lack permission for this bucket or key",
    "ExpiredToken": "the credentials have expired: renew them (aws sso login, or a new session token)",
    "InvalidToken": "the session token is not valid: renew the credentials",
    "InvalidAccessKeyId": "the access key is unknown to this store: check the credentials and the endpoint",
    "SignatureDoesNotMatch": "the secret key does not fit the access key, or the region is wrong",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it",
    "PermanentRedirect": "the bucket is in another region: set region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set region",
    "InvalidBucketName": "not a valid bucket name",
    "NoSuchUpload": "the store lost the upload: run again",
    "QuotaExceeded": "the store's quota is used up: free space",
}


@lru_cache(maxsize=8)
def _client(config: StorageConfig, process: int) -> Any:
    session = boto3.session.Session(profile_name=config.profile)
    elsewhere = config.endpoint or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return session.client(
        "s3",
        endpoint_url=config.endpoint,
        region_name=config.region or session.region_name or "us-east-1",
        config=Config(
            connect_timeout=config.connect_timeout_s,
            read_timeout=config.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": config.attempts},
            signature_version=UNSIGNED if config.anonymous else None,
            # S3-compatible stores often lack the newer default checksums and virtual-host addressing.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if elsewhere else "auto"},
            max_pool_connections=32,
        ),
    )


class S3Storage(Storage):
    """A bucket, or everything under a prefix of it."""

    def __init__(self, bucket: str, prefix: str, config: StorageConfig = DEFAULT_STORAGE):
        self.uri = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self._bucket, self._prefix, self._config = bucket, prefix, config

    def _key(self, key: str) -> dict[str, str]:
        if not key:
            raise ValueError(f"an empty key names no object below {self.uri}")
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{key}" if self._prefix else key}

    def _call(self, key: str, call: Callable[[Any], _Result]) -> _Result:
        try:
            return call(_client(self._config, os.getpid()))
        except (aws.BotoCoreError, aws.ClientError) as error:
            raise explain(self.locate(key), error, self._config) from None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        root = f"{self._prefix}/" if self._prefix else ""
        query = {"Bucket": self._bucket, "Prefix": root + prefix}
        while True:
            page = self._call(prefix, lambda s3: s3.list_objects_v2(**query))
            for entry in page.get("Contents", ()):
                if not entry["Key"].endswith("/"):
                    yield ObjectInfo(entry["Key"][len(root) :], entry["Size"])
            if not page.get("IsTruncated"):
                return
            query["ContinuationToken"] = page["NextContinuationToken"]

    def read(self, key: str, limit: int | None = None) -> bytes:
        with self._raw(key) as reader:
            return reader.read_all(limit)

    def open(self, key: str) -> io.BufferedIOBase:
        return io.BufferedReader(self._raw(key), _BUFFER_BYTES)

    def _raw(self, key: str) -> _S3Reader:
        return _S3Reader(self, key, self._config.attempts)

    def write(self, key: str, data: bytes, durable: bool = True) -> None:
        self._call(key, lambda s3: s3.put_object(**self._key(key), Body=data, ContentType=_content_type(key)))

    def flush(self) -> None:
        pass

    def write_if_absent(self, key: str, data: bytes) -> bool:
        def put(s3: Any) -> bool:
            for attempt in range(self._config.attempts):
                try:
                    s3.put_object(**self._key(key), Body=data, ContentType=_content_type(key), IfNoneMatch="*")
                    return True
                except aws.ClientError as error:
                    code = _code(error)
                    if code in ("PreconditionFailed", "412"):
                        # A retried request may find what its own first try has written.
                        retried = attempt or error.response.get("ResponseMetadata", {}).get("RetryAttempts")
                        return bool(retried) and self.read(key) == data
                    if code not in ("ConditionalRequestConflict", "409") or attempt + 1 == self._config.attempts:
                        raise
                _wait(attempt)
            return False

        return self._call(key, put)

    def exists(self, key: str) -> bool:
        def head(s3: Any) -> bool:
            try:
                s3.head_object(**self._key(key))
            except aws.ClientError as error:
                if _code(error) in _MISSING:
                    return False
                raise
            return True

        return self._call(key, head)

    def delete(self, key: str) -> None:
        self._call(key, lambda s3: s3.delete_object(**self._key(key)))


class _S3Reader(io.RawIOBase):
    """Streams one object; after a broken body it goes on from where it was, of the same version of the object."""

    mode = "rb"

    def __init__(self, storage: S3Storage, key: str, attempts: int):
        self._storage, self._key, self._attempts = storage, key, attempts
        self._at, self._size, self._etag, self._body = 0, -1, "", None
        self._get()

    def _get(self) -> None:
        extra = {"IfMatch": self._etag} if self._etag else {}
        if self._at:
            extra["Range"] = f"bytes={self._at}-"
        answer = self._storage._call(self._key, lambda s3: s3.get_object(**self._storage._key(self._key), **extra))
        self._body = answer["Body"]
        if not self._etag:
            self._etag, self._size = answer["ETag"], answer["ContentLength"]

    def _drop(self) -> None:
        if self._body is not None:
            self._body.close()
            self._body = None

    def _some(self, count: int) -> bytes:
        for attempt in range(self._attempts):
            if self._at >= self._size or not count:
                return b""
            try:
                if self._body is None:
                    self._get()
                data = cast(Any, self._body).read(count)
                if data:
                    self._at += len(data)
                    return data
                reason: BaseException = EOFError(f"body ended {self._size - self._at} bytes early")
            except _BODY_ERRORS as error:
                reason = error
            self._drop()
            _wait(attempt)
        where = self._storage.locate(self._key)
        raise StorageError(
            f"{where}: reading stopped at byte {self._at} of {self._size} in {self._attempts} attempts "
            f"({type(reason).__name__}): the store or the network is failing, run again"
        )

    def read_all(self, limit: int | None) -> bytes:
        """From the present position to the end, at most `limit` bytes."""
        parts, left = [], self._size - self._at if limit is None else min(limit, self._size - self._at)
        while left > 0:
            parts.append(self._some(min(left, 8 * _BUFFER_BYTES)))
            left -= len(parts[-1])
        return b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        data = self._some(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        if at != self._at:
            self._drop()
            self._at = max(at, 0)
        return self._at

    def close(self) -> None:
        self._drop()
        super().close()


def _content_type(key: str) -> str:
    return _TYPES.get(key.rpartition(".")[2].lower(), "application/octet-stream")


def _code(error: aws.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _wait(attempt: int) -> None:
    time.sleep(min(0.05 * 2**attempt, 5.0))


def explain(uri: str, error: Exception, config: StorageConfig) -> StorageError:
    """What happened and what to do, without anything of the request (it may carry keys and signatures)."""
    if isinstance(error, aws.ClientError):
        code = _code(error)
        if code in _MISSING:
            return ObjectError(f"{uri}: no such object")
        if code == "InvalidObjectState":
            return ObjectError(f"{uri}: the object is archived, restore it first")
        if code in ("PreconditionFailed", "412"):
            return StorageError(f"{uri}: the object changed while it was read, run again")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        advice = _ADVICE.get(code, f"the store answered {code or 'an error'} (HTTP {status})")
        return StorageError(f"{uri}: {advice}")
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError | aws.CredentialRetrievalError):
        what = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a profile, or use an instance role"
        return StorageError(f"{uri}: no usable credentials: {what}; for a public bucket set anonymous")
    if isinstance(error, aws.ProfileNotFound):
        return StorageError(f"{uri}: there is no profile {config.profile!r} in the AWS configuration files")
    if isinstance(error, aws.SSOError | aws.TokenRetrievalError):
        return StorageError(f"{uri}: the sign-in has expired: run aws sso login")
    if isinstance(error, aws.ConnectionError | aws.HTTPClientError):
        where = config.endpoint or "AWS S3"
        return StorageError(f"{uri}: cannot reach {where} ({type(error).__name__}): check the endpoint and the network")
    return StorageError(f"{uri}: {type(error).__name__}")
