"""What the AWS CLI makes of answers beyond the main job: errors and exit codes, its own paging,
waiters, timestamps, empty answers, bytes. Usage: surface.py AWS ENDPOINT STREAM"""

import pathlib
import re
import subprocess
import sys
import tempfile

from command import AWS, Failed

LARGEST = 10 * 1024 * 1024


def main():
    program, endpoint, stream = sys.argv[1:]
    aws = AWS(program, endpoint)
    aws.create_stream(StreamName=stream, ShardCount=3)
    run(program, endpoint, "wait", "stream-exists", "--stream-name", stream)
    errors(aws, stream)

    listed = run(program, endpoint, "list-shards", "--stream-name", stream, "--query", "Shards[].ShardId", "--output", "text")
    assert listed.split() == [f"shardId-00000000000{n}" for n in range(3)], listed
    described = run(program, endpoint, "describe-stream", "--stream-name", stream, "--page-size", "1")
    assert described.count('"ShardId"') == 3, described

    assert aws.add_tags_to_stream(StreamName=stream, Tags="team=web") == {}, "an empty answer is not empty"
    assert aws.list_tags_for_stream(StreamName=stream)["Tags"] == [{"Key": "team", "Value": "web"}]
    round_trip(aws, stream)
    aws.delete_stream(StreamName=stream)
    run(program, endpoint, "wait", "stream-not-exists", "--stream-name", stream)
    print("ok: errors, paging, waiters, timestamps, empty answers, 10 MiB")


def run(program, endpoint, *arguments):
    command = [program, "--endpoint-url", endpoint, "kinesis", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def errors(aws, stream):
    def fails(text, method, **arguments):
        try:
            getattr(aws, method)(**arguments)
        except Failed as err:
            assert text in err.text and err.code in (254, 255), (err.code, err.text)
            return
        raise AssertionError(f"{method} does not fail")

    fails("An error occurred (ResourceNotFoundException) when calling the DescribeStreamSummary operation: "
          "Stream nope under account 000000000000 not found.", "describe_stream_summary", StreamName="nope")
    fails("An error occurred (ResourceInUseException) when calling the CreateStream operation: "
          f"Stream {stream} under account 000000000000 already exists.", "create_stream", StreamName=stream, ShardCount=1)


def round_trip(aws, stream):
    arn = aws.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]
    aws.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=10240)
    largest = bytes(range(256)) * (LARGEST >> 8)
    with tempfile.NamedTemporaryFile() as file:
        pathlib.Path(file.name).write_bytes(largest[: LARGEST - 1])
        put = aws.put_record(StreamName=stream, PartitionKey="k", Data=f"fileb://{file.name}")
    iterator = aws.get_shard_iterator(StreamName=stream, ShardId=put["ShardId"],
                                      ShardIteratorType="AT_SEQUENCE_NUMBER", StartingSequenceNumber=put["SequenceNumber"])
    [record] = aws.get_records(ShardIterator=iterator["ShardIterator"])["Records"]
    assert record["Data"] == largest[: LARGEST - 1], "other bytes came back"
    arrived = str(record["ApproximateArrivalTimestamp"])
    assert re.fullmatch(r"\d{10}(\.\d{1,3})?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3}(000)?)?(Z|[+-]\d\d:\d\d)", arrived), arrived


main()
