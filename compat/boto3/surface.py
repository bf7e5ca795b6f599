"""What boto3 makes of answers beyond the main job: exceptions, paginators, waiters, timestamps,
empty answers, bytes. Usage: surface.py ENDPOINT STREAM"""

import datetime
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

LARGEST = 10 * 1024 * 1024


def main():
    endpoint, stream = sys.argv[1:]
    client = boto3.client("kinesis", endpoint_url=endpoint, config=Config(retries={"total_max_attempts": 1}))
    names = [f"{stream}-{n}" for n in range(5)]
    for name in names:
        client.create_stream(StreamName=name, ShardCount=3)
    for name in names:
        client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    errors(client, names[0])
    paginators(client, names)
    empty_answers(client, names[0])
    round_trips(client, names[1])
    for name in names:
        client.delete_stream(StreamName=name)
    for name in names:
        client.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    print("ok: exceptions, paginators, waiters, timestamps, empty answers, 10 MiB")


def errors(client, stream):
    def fails(exception, message, call, **arguments):
        try:
            call(**arguments)
        except exception as err:
            told = err.response["Error"]
            assert message in told["Message"], told
            assert len(err.response["ResponseMetadata"]["RequestId"]) == 36, err.response
            assert err.response["ResponseMetadata"]["HTTPStatusCode"] == 400, err.response
            return told["Code"]
        raise AssertionError(f"{exception.__name__} was not raised")

    e = client.exceptions
    fails(e.ResourceNotFoundException, "Stream nope under account 000000000000 not found.",
          client.describe_stream, StreamName="nope")
    fails(e.ResourceInUseException, f"Stream {stream} under account 000000000000 already exists.",
          client.create_stream, StreamName=stream, ShardCount=1)
    fails(e.InvalidArgumentException, "Invalid ShardIterator.", client.get_records, ShardIterator="AAAA")
    fails(e.LimitExceededException, "", client.update_shard_count,
          StreamName=stream, TargetShardCount=100, ScalingType="UNIFORM_SCALING")
    code = fails(ClientError, "failed to satisfy constraint", client.describe_stream, StreamName="a b")
    assert code == "ValidationException", code


def paginators(client, names):
    def collect(operation, member, **arguments):
        pages = list(client.get_paginator(operation).paginate(**arguments))
        return len(pages), [item for page in pages for item in page[member]]

    pages, found = collect("list_streams", "StreamNames", PaginationConfig={"PageSize": 2})
    assert found == names and pages == 3, (pages, found)
    # A second page of list_shards fails as it does on AWS: the paginator repeats StreamName beside
    # NextToken, which ListShards refuses.
    pages, found = collect("list_shards", "Shards", StreamName=names[0])
    assert len(found) == 3 and pages == 1, (pages, found)
    pages = list(client.get_paginator("describe_stream").paginate(StreamName=names[0], PaginationConfig={"PageSize": 1}))
    ids = [s["ShardId"] for page in pages for s in page["StreamDescription"]["Shards"]]
    assert ids == [f"shardId-00000000000{n}" for n in range(3)] and len(pages) == 3, ids


def empty_answers(client, stream):
    for answer in (
        client.add_tags_to_stream(StreamName=stream, Tags={"team": "web", "größe": "ein = zwei"}),
        client.remove_tags_from_stream(StreamName=stream, TagKeys=["team"]),
        client.increase_stream_retention_period(StreamName=stream, RetentionPeriodHours=48),
    ):
        assert list(answer) == ["ResponseMetadata"], answer
    tags = client.list_tags_for_stream(StreamName=stream)
    assert tags["Tags"] == [{"Key": "größe", "Value": "ein = zwei"}] and tags["HasMoreTags"] is False, tags


def round_trips(client, stream):
    summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    client.update_max_record_size(StreamARN=summary["StreamARN"], MaxRecordSizeInKiB=10240)
    client.get_waiter("stream_exists").wait(StreamName=stream, WaiterConfig={"Delay": 1})
    largest = bytes(i * i // 251 % 256 for i in range(1 << 16)) * (LARGEST >> 16)
    sent = [b"", bytes(range(256)), "äöü \U0001f30a".encode(), largest[: LARGEST - 4]]
    begun = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)
    shard = None
    for data in sent:
        shard = client.put_record(StreamName=stream, PartitionKey="ключ"[:2], Data=data)["ShardId"]
    iterator = client.get_shard_iterator(
        StreamName=stream, ShardId=shard, ShardIteratorType="AT_TIMESTAMP", Timestamp=begun)["ShardIterator"]
    got = []
    while len(got) < len(sent):
        page = client.get_records(ShardIterator=iterator)
        assert page["Records"] or page["MillisBehindLatest"], f"only {len(got)} records"
        got += page["Records"]
        iterator = page["NextShardIterator"]
    assert [r["Data"] for r in got] == sent, "other bytes came back"
    arrived = [r["ApproximateArrivalTimestamp"] for r in got]
    assert begun < arrived[0] and arrived == sorted(arrived), arrived
    assert any(t.microsecond for t in arrived) and all(t.microsecond % 1000 == 0 for t in arrived), arrived


main()
