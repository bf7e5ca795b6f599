"""Roles and sessions as boto3 uses them: asked for, and by a profile and a web identity that it asks for
itself. Usage: tokens.py ENDPOINT"""

import base64
import datetime
import json
import os
import sys
import tempfile

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deployer"
ONCE = Config(retries={"total_max_attempts": 1})


def main():
    endpoint = sys.argv[1]
    sts = boto3.client("sts", endpoint_url=endpoint, config=ONCE)
    identity = sts.get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::000000000000:root", identity
    assumed(endpoint, sts)
    errors(sts)
    with tempfile.TemporaryDirectory() as home:
        profile(endpoint, home)
        web_identity(endpoint, home)
    print("ok: who calls, sessions, exceptions, a profile with a role, a web identity")


def whose(client):
    """The account whose streams a Kinesis client sees."""
    client.create_stream(StreamName="whose", ShardCount=1)
    arn = client.describe_stream_summary(StreamName="whose")["StreamDescriptionSummary"]["StreamARN"]
    client.delete_stream(StreamName="whose")
    return arn.split(":")[4]


def assumed(endpoint, sts):
    answer = sts.assume_role(
        RoleArn=ROLE, RoleSessionName="boto3", DurationSeconds=900, ExternalId="ext", SourceIdentity="alice",
        Policy=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kinesis:*", "Resource": "*"}]}),
        Tags=[{"Key": "team", "Value": "blue = green é"}], TransitiveTagKeys=["team"])
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/boto3", answer
    assert answer["SourceIdentity"] == "alice" and answer["PackedPolicySize"] > 0, answer
    session = answer["Credentials"]
    left = session["Expiration"] - datetime.datetime.now(datetime.timezone.utc)
    assert datetime.timedelta(seconds=890) < left <= datetime.timedelta(seconds=901), left
    keys = dict(aws_access_key_id=session["AccessKeyId"], aws_secret_access_key=session["SecretAccessKey"],
                aws_session_token=session["SessionToken"], endpoint_url=endpoint, config=ONCE)
    assert whose(boto3.client("kinesis", **keys)) == ACCOUNT
    identity = boto3.client("sts", **keys).get_caller_identity()
    assert identity["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"], identity
    own = sts.get_session_token()["Credentials"]
    assert own["AccessKeyId"].startswith("ASIA") and len(own["SecretAccessKey"]) == 40, own


def errors(sts):
    def fails(exception, code, message, status, call, **arguments):
        try:
            call(**arguments)
        except exception as err:
            told, metadata = err.response["Error"], err.response["ResponseMetadata"]
            assert told["Code"] == code and message in told["Message"] and told["Type"] == "Sender", told
            assert metadata["HTTPStatusCode"] == status and len(metadata["RequestId"]) == 36, metadata
            return
        raise AssertionError(f"{code} was not raised")

    e = sts.exceptions
    role = dict(RoleArn=ROLE, RoleSessionName="boto3")
    fails(e.MalformedPolicyDocumentException, "MalformedPolicyDocument", "Syntax errors", 400, sts.assume_role, Policy="{", **role)
    fails(e.PackedPolicyTooLargeException, "PackedPolicyTooLarge", "Packed policy consumes", 400,
          sts.assume_role, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
              {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:kinesis:*:*:stream/" + "x" * 9000}]}), **role)
    fails(e.InvalidIdentityTokenException, "InvalidIdentityToken", "not a valid JWT", 400,
          sts.assume_role_with_web_identity, WebIdentityToken="opaque", **role)
    fails(ClientError, "ValidationError", "1 validation error detected", 400, sts.get_session_token, DurationSeconds=900000)
    fails(ClientError, "AccessDenied", "MultiFactorAuthentication failed", 403,
          sts.get_session_token, SerialNumber="GAHT12345678", TokenCode="123456")
    fails(ClientError, "InvalidAction", "Could not find operation GetFederationToken", 400, sts.get_federation_token, Name="bob")


def profile(endpoint, home):
    """A profile that names a role, as people write them."""
    path = os.path.join(home, "config")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"[profile deploy]\nrole_arn = {ROLE}\ncredential_source = Environment\nendpoint_url = {endpoint}\n")
    os.environ["AWS_CONFIG_FILE"], os.environ["AWS_ENDPOINT_URL"] = path, endpoint
    session = boto3.Session(profile_name="deploy")
    assert whose(session.client("kinesis", config=ONCE)) == ACCOUNT
    del os.environ["AWS_CONFIG_FILE"]


def web_identity(endpoint, home):
    """What a pod with a service account has in its environment."""
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    path = os.path.join(home, "token")
    with open(path, "w", encoding="utf-8") as file:
        claims = {"iss": "https://cluster.example", "sub": "system:serviceaccount:app:web", "aud": ["sts.amazonaws.com"], "exp": 4102444800}
        file.write(".".join([part({"alg": "RS256", "kid": "k"}), part(claims), part("signature")]))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del os.environ[name]
    os.environ.update(AWS_ROLE_ARN=ROLE, AWS_WEB_IDENTITY_TOKEN_FILE=path, AWS_ROLE_SESSION_NAME="pod", AWS_ENDPOINT_URL=endpoint)
    session = boto3.Session()
    identity = session.client("sts", config=ONCE).get_caller_identity()
    assert identity["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/pod", identity
    assert whose(session.client("kinesis", config=ONCE)) == ACCOUNT


if __name__ == "__main__":
    main()
