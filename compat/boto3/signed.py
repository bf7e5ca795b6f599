"""A round trip with the credentials of the environment, against a server that verifies signatures.
Prints "accepted", or what the server refused it with. Usage: signed.py ENDPOINT STREAM"""

import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def main():
    endpoint, stream = sys.argv[1:]
    client = boto3.client("kinesis", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))
    try:
        round_trip(client, stream)
    except ClientError as err:
        print(f"{err.response['Error']['Code']}: {err.response['Error']['Message']}")
    else:
        print("accepted")


def round_trip(client, stream):
    client.create_stream(StreamName=stream, ShardCount=1)
    sent = [bytes(range(256)) * n for n in (0, 1, 2000)]
    put = client.put_records(StreamName=stream, Records=[{"Data": data, "PartitionKey": "ä ö"} for data in sent])
    assert put["FailedRecordCount"] == 0, put
    iterator = client.get_shard_iterator(StreamName=stream, ShardId=put["Records"][0]["ShardId"], ShardIteratorType="TRIM_HORIZON")
    got = client.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert [record["Data"] for record in got] == sent, "other records came back"


main()
