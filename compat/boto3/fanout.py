"""Subscribes with boto3 to the shards of a stream and their children while records are put and shards split
and merge: every record comes once, those of a key in their order. Usage: fanout.py ENDPOINT STREAM"""

import sys
import threading
import time

import boto3
from botocore.config import Config


class FanOut:
    def __init__(self, endpoint, stream):
        config = Config(retries={"total_max_attempts": 1}, max_pool_connections=50)
        self.client = boto3.client("kinesis", endpoint_url=endpoint, config=config)
        self.stream = stream
        self.lock = threading.Condition()
        self.put, self.seen, self.order = {}, {}, []
        self.begun, self.done, self.errors, self.open, self.threads = set(), set(), [], [], []
        self.stopping = False

    def run(self):
        self.client.create_stream(StreamName=self.stream, ShardCount=2)
        self.settle()
        arn = self.client.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]["StreamARN"]
        self.consumer = self.client.register_stream_consumer(StreamARN=arn, ConsumerName="wheel")["Consumer"]["ConsumerARN"]
        while self.client.describe_stream_consumer(ConsumerARN=self.consumer)["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE":
            time.sleep(0.1)
        for shard in ("shardId-000000000000", "shardId-000000000001"):
            self.begin(shard)
        self.fill()
        with self.lock:
            assert self.lock.wait_for(lambda: self.errors or len(self.seen) >= len(self.put), timeout=60), \
                f"{len(self.seen)} of {len(self.put)} records came"
            self.stopping = True
        self.client.delete_stream(StreamName=self.stream, EnforceConsumerDeletion=True)  # ends the subscriptions
        for thread in self.threads:
            thread.join(30)
        assert not self.errors, self.errors
        assert self.seen == self.put, "other records came than were put"
        last = {}
        for data in self.order:
            key = data.split("/")[0]
            assert last.get(key, "") < data, f"{data} came after {last[key]}"
            last[key] = data
        print(f"ok: {len(self.seen)} records pushed through {len(self.begun)} shards")

    def settle(self):
        self.client.get_waiter("stream_exists").wait(StreamName=self.stream, WaiterConfig={"Delay": 1})

    def fill(self):
        for batch in range(60):
            data = [f"key-{n % 9}/{batch * 20 + n:05d}" for n in range(20)]
            answer = self.client.put_records(StreamName=self.stream, Records=[
                {"PartitionKey": d.split("/")[0], "Data": d.encode()} for d in data])
            assert answer["FailedRecordCount"] == 0, answer
            with self.lock:
                self.put.update({r["SequenceNumber"]: d for r, d in zip(answer["Records"], data)})
            if batch == 20:
                self.client.split_shard(StreamName=self.stream, ShardToSplit="shardId-000000000000",
                                        NewStartingHashKey="85070591730234615865843651857942052864")
                self.settle()
            if batch == 40:
                self.client.merge_shards(StreamName=self.stream, ShardToMerge="shardId-000000000003",
                                         AdjacentShardToMerge="shardId-000000000001")
                self.settle()

    def begin(self, shard):
        with self.lock:
            if shard in self.begun:
                return
            self.begun.add(shard)
            thread = threading.Thread(target=self.read, args=(shard,))
            self.threads.append(thread)
        thread.start()

    def read(self, shard):
        try:
            children = self.follow(shard)
        except Exception as err:
            with self.lock:
                if not self.stopping:
                    self.errors.append(f"{shard}: {err!r}")
                self.lock.notify_all()
            return
        with self.lock:
            self.done.add(shard)
            ready = [c["ShardId"] for c in children if self.done.issuperset(c["ParentShards"])]
        for child in ready:
            self.begin(child)

    def follow(self, shard):
        position = {"Type": "TRIM_HORIZON"}
        while not self.stopping:
            answer = self.client.subscribe_to_shard(ConsumerARN=self.consumer, ShardId=shard, StartingPosition=position)
            for message in answer["EventStream"]:
                event = message["SubscribeToShardEvent"]
                self.saw(event["Records"])
                if event.get("ChildShards"):
                    assert "ContinuationSequenceNumber" not in event, event
                    return event["ChildShards"]
                position = {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": event["ContinuationSequenceNumber"]}
        return []

    def saw(self, records):
        with self.lock:
            for record in records:
                number, data = record["SequenceNumber"], record["Data"].decode()
                if number in self.seen:
                    self.errors.append(f"{data} came twice")
                self.seen[number] = data
                self.order.append(data)
            self.lock.notify_all()


FanOut(*sys.argv[1:]).run()
