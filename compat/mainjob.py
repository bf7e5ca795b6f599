"""The main job, as a Python client sees it: put a web server's log into a stream, reshard the
stream meanwhile, and read every record back, byte for byte and in order per shard.

run() takes a client whose methods are named and shaped like boto3's. It raises AssertionError with
the facts when a record is lost, invented, repeated, changed or out of order.
"""

import concurrent.futures
import hashlib
import threading
import time

BATCH = 500
MAX_HASH = 2**128 - 1


def run(client, log, stream, limit=1000, page=3):
    """limit is how many records, and page how many shards, are asked for at a time."""
    client = Paged(client, limit, page)
    lines = log.removesuffix(b"\n").split(b"\n")
    client.create_stream(StreamName=stream, ShardCount=2)
    wait_active(client, stream)

    reshard_failed = []
    steps = iter([split_first, grow, merge_pair])
    resharding = None
    acknowledged = {}  # (shard, sequence number) -> line
    batches = [lines[i : i + BATCH] for i in range(0, len(lines), BATCH)]
    for number, batch in enumerate(batches):
        if number % max(1, len(batches) // 4) == 1 and (step := next(steps, None)):
            if resharding:
                resharding.join()
            resharding = threading.Thread(target=guarded, args=(step, client, stream, reshard_failed))
            resharding.start()
        put(client, stream, batch, acknowledged)
    if resharding:
        resharding.join()
    assert not reshard_failed, f"resharding failed: {reshard_failed}"
    assert len(acknowledged) == len(lines), f"{len(acknowledged)} distinct sequence numbers for {len(lines)} lines"

    wait_active(client, stream)
    shards = list_shards(client, stream)
    assert len(shards) > 4, f"only {len(shards)} shards: the stream was not resharded"
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        read_all = pool.map(lambda shard: read(client, stream, shard, shards), shards)
        records = dict(zip((s["ShardId"] for s in shards), read_all))
    check_shards(shards, records, acknowledged)
    check_keys(shards, records, lines)
    client.delete_stream(StreamName=stream)
    busy = sum(1 for r in records.values() if r)
    print(f"ok: {len(lines)} lines over {len(shards)} shards, {busy} of them with records")


class Paged:
    """A client that also knows how much to ask for at a time."""

    def __init__(self, client, limit, page):
        self.client, self.limit, self.page = client, limit, page

    def __getattr__(self, method):
        return getattr(self.client, method)


def key_of(line):
    return line.split(b" ", 1)[0].decode()


def guarded(step, client, stream, failed):
    try:
        step(client, stream)
        wait_active(client, stream)
    except Exception as err:  # reported by the main thread
        failed.append(repr(err))


def open_shards(client, stream):
    shards = [s for s in list_shards(client, stream) if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
    return sorted(shards, key=lambda s: int(s["HashKeyRange"]["StartingHashKey"]))


def split_first(client, stream):
    shard = open_shards(client, stream)[0]
    low, high = (int(shard["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
    client.split_shard(StreamName=stream, ShardToSplit=shard["ShardId"], NewStartingHashKey=str((low + high) // 2))


def grow(client, stream):
    count = len(open_shards(client, stream))
    client.update_shard_count(StreamName=stream, TargetShardCount=count * 2, ScalingType="UNIFORM_SCALING")


def merge_pair(client, stream):
    left, right = open_shards(client, stream)[1:3]
    client.merge_shards(StreamName=stream, ShardToMerge=left["ShardId"], AdjacentShardToMerge=right["ShardId"])


def wait_active(client, stream):
    deadline = time.monotonic() + 60
    while True:
        summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
        if summary["StreamStatus"] == "ACTIVE":
            return
        assert time.monotonic() < deadline, f"stream stays {summary['StreamStatus']}"
        time.sleep(0.1)


def put(client, stream, batch, acknowledged):
    waiting = batch
    while waiting:
        entries = [{"Data": line, "PartitionKey": key_of(line)} for line in waiting]
        result = client.put_records(StreamName=stream, Records=entries)
        assert len(result["Records"]) == len(entries), "an answer is missing"
        again = []
        for line, answer in zip(waiting, result["Records"]):
            if answer.get("ErrorCode"):
                again.append(line)
                continue
            place = (answer["ShardId"], answer["SequenceNumber"])
            assert place not in acknowledged, f"{place} was given out twice"
            acknowledged[place] = line
        assert result["FailedRecordCount"] == len(again)
        waiting = again


def list_shards(client, stream):
    page = client.list_shards(StreamName=stream, MaxResults=client.page)
    shards = page["Shards"]
    while page.get("NextToken"):
        page = client.list_shards(NextToken=page["NextToken"], MaxResults=client.page)
        shards += page["Shards"]
    return shards


def read(client, stream, shard, shards):
    """Reads a shard from its trim horizon to its end, or to the tip while it is open."""
    closed = "EndingSequenceNumber" in shard["SequenceNumberRange"]
    iterator = client.get_shard_iterator(
        StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    records = []
    while True:
        page = client.get_records(ShardIterator=iterator, Limit=client.limit)
        records += page["Records"]
        following = page.get("NextShardIterator")
        if following is None:
            assert closed, f"{shard['ShardId']} ends although it is open"
            children = {s["ShardId"] for s in shards if shard["ShardId"] in parents(s)}
            told = {c["ShardId"] for c in page.get("ChildShards", [])}
            assert children and children == told, f"{shard['ShardId']} has children {children}, GetRecords says {told}"
            return records
        assert following != iterator, "the next iterator is the same"
        assert not page.get("ChildShards"), "child shards before the end"
        if not closed and page["MillisBehindLatest"] == 0:
            return records  # nothing is being put any more
        iterator = following


def parents(shard):
    return [shard[k] for k in ("ParentShardId", "AdjacentParentShardId") if k in shard]


def check_shards(shards, records, acknowledged):
    """Each shard holds what was acknowledged for it, byte for byte, in rising order, in its range."""
    for shard in shards:
        sid = shard["ShardId"]
        got = [(int(r["SequenceNumber"]), r["Data"]) for r in records[sid]]
        want = sorted((int(seq), line) for (s, seq), line in acknowledged.items() if s == sid)
        assert got == want, f"{sid}: read {len(got)} records, {len(want)} were acknowledged, or their order differs"
        low, high = (int(shard["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
        assert 0 <= low <= high <= MAX_HASH
        for r in records[sid]:
            assert low <= int.from_bytes(hashlib.md5(r["PartitionKey"].encode()).digest(), "big") <= high
            assert r["PartitionKey"] == key_of(r["Data"])


def check_keys(shards, records, lines):
    """Parents read before their children, every key's lines come in the order they were put."""
    place, order = {s["ShardId"]: s for s in shards}, []

    def visit(sid):
        if sid in place:
            shard = place.pop(sid)
            for parent in parents(shard):
                visit(parent)
            order.append(sid)

    for shard in shards:
        visit(shard["ShardId"])
    got, want = {}, {}
    for sid in order:
        for r in records[sid]:
            got.setdefault(r["PartitionKey"], []).append(r["Data"])
    for line in lines:
        want.setdefault(key_of(line), []).append(line)
    wrong = [k for k in want if got.get(k) != want[k]]
    assert not wrong, f"{len(wrong)} of {len(want)} keys are out of order, such as {wrong[:3]}"
