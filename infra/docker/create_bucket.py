"""Creates the lake's bucket where it is missing: a one-shot service of docker-compose.yml.

Does not belong here: rules for what the bucket keeps, and users of the store.
"""  # noqa: INP001 -- a program in the image, not a package

import sys
from typing import Any
from urllib.parse import urlparse

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from retail_assets.settings import Settings, SettingsError, load_settings

#: The one region that a request for a bucket must not name.
_UNNAMED_REGION = "us-east-1"


def bucket_of(settings: Settings) -> str:
    """Return the bucket that the lake lies in.

    Raises:
        SettingsError: the lake is a folder.
    """
    parts = urlparse(settings.lake)
    if parts.scheme != "s3a" or not parts.netloc:
        raise SettingsError(f"RETAIL_LAKE_URI is {settings.lake!r}: should start with s3a:// and a bucket")
    return parts.netloc


def ensure_bucket(client: Any, bucket: str, region: str) -> bool:
    """Make the bucket if it isn't there, and return whether it was made now.

    Raises:
        ClientError: the store refuses, for another reason than that the bucket is missing or was just made.
    """
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchBucket", "NotFound"}:
            raise
    else:
        return False
    place = {} if region == _UNNAMED_REGION else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        client.create_bucket(Bucket=bucket, **place)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
        return False
    return True


def main() -> int:
    """Make the bucket of the settings, and return the exit code."""
    try:
        settings = load_settings()
        bucket = bucket_of(settings)
        client = boto3.client(
            "s3",
            endpoint_url=settings.s3_endpoint or None,
            region_name=settings.s3_region,
            aws_access_key_id=settings.s3_access_key or None,
            aws_secret_access_key=settings.s3_secret_key.get_secret_value() or None,
        )
        made = ensure_bucket(client, bucket, settings.s3_region)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"{settings.s3_endpoint or 'S3'}, bucket {bucket}: {error}", file=sys.stderr)
        return 1
    print(f"made bucket {bucket}" if made else f"bucket {bucket} is there")
    return 0


if __name__ == "__main__":
    sys.exit(main())
