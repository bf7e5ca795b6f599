// The main job with the AWS SDK for JavaScript v3, which speaks HTTP/2 without TLS to Kinesis.
// Usage: main_job.mjs ENDPOINT LOG STREAM
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kinesis } from '@aws-sdk/client-kinesis'

const BATCH = 500

const keyOf = line => line.slice(0, line.indexOf(' '))
const parents = shard => [shard.ParentShardId, shard.AdjacentParentShardId].filter(Boolean)
const isClosed = shard => shard.SequenceNumberRange.EndingSequenceNumber !== undefined
const range = shard => [BigInt(shard.HashKeyRange.StartingHashKey), BigInt(shard.HashKeyRange.EndingHashKey)]

async function main([endpoint, logFile, stream]) {
  const client = new Kinesis({ endpoint, maxAttempts: 1 })
  const lines = readFileSync(logFile, 'utf8').replace(/\n$/, '').split('\n')
  await client.createStream({ StreamName: stream, ShardCount: 2 })
  await waitActive(client, stream)

  const acknowledged = new Map() // shard -> [{ sequence, line }]
  const steps = [splitFirst, grow, mergePair]
  let resharding = Promise.resolve()
  const batches = Math.ceil(lines.length / BATCH)
  for (let b = 0; b < batches; b++) {
    if (b % Math.max(1, Math.floor(batches / 4)) === 1 && steps.length > 0) {
      await resharding
      const step = steps.shift()
      resharding = step(client, stream).then(() => waitActive(client, stream))
      resharding.catch(() => {}) // awaited, and thrown, below
    }
    await put(client, stream, lines.slice(b * BATCH, (b + 1) * BATCH), acknowledged)
  }
  await resharding

  const shards = await listShards(client, stream)
  assert(shards.length > 4, `only ${shards.length} shards: the stream was not resharded`)
  const records = new Map()
  for (const shard of shards) records.set(shard.ShardId, await read(client, stream, shard, shards))
  checkShards(shards, records, acknowledged, lines.length)
  checkKeys(shards, records, lines)
  await client.deleteStream({ StreamName: stream })
  client.destroy()
  const busy = [...records.values()].filter(r => r.length > 0).length
  console.log(`ok: ${lines.length} lines over ${shards.length} shards, ${busy} of them with records`)
}

async function openShards(client, stream) {
  const shards = (await listShards(client, stream)).filter(s => !isClosed(s))
  return shards.sort((a, b) => (range(a)[0] < range(b)[0] ? -1 : 1))
}

async function splitFirst(client, stream) {
  const [shard] = await openShards(client, stream)
  const [low, high] = range(shard)
  await client.splitShard({ StreamName: stream, ShardToSplit: shard.ShardId, NewStartingHashKey: String((low + high) / 2n) })
}

async function grow(client, stream) {
  const { length } = await openShards(client, stream)
  await client.updateShardCount({ StreamName: stream, TargetShardCount: 2 * length, ScalingType: 'UNIFORM_SCALING' })
}

async function mergePair(client, stream) {
  const [, left, right] = await openShards(client, stream)
  await client.mergeShards({ StreamName: stream, ShardToMerge: left.ShardId, AdjacentShardToMerge: right.ShardId })
}

async function waitActive(client, stream) {
  for (let tries = 0; tries < 600; tries++) {
    const { StreamDescriptionSummary: summary } = await client.describeStreamSummary({ StreamName: stream })
    if (summary.StreamStatus === 'ACTIVE') return
    await sleep(100)
  }
  assert.fail('the stream does not become ACTIVE')
}

async function put(client, stream, batch, acknowledged) {
  let waiting = batch
  while (waiting.length > 0) {
    const Records = waiting.map(line => ({ Data: Buffer.from(line), PartitionKey: keyOf(line) }))
    const answer = await client.putRecords({ StreamName: stream, Records })
    assert.equal(answer.Records.length, waiting.length)
    const again = []
    answer.Records.forEach((result, i) => {
      if (result.ErrorCode) return again.push(waiting[i])
      if (!acknowledged.has(result.ShardId)) acknowledged.set(result.ShardId, [])
      acknowledged.get(result.ShardId).push({ sequence: BigInt(result.SequenceNumber), line: waiting[i] })
    })
    assert.equal(answer.FailedRecordCount, again.length)
    waiting = again
  }
}

async function listShards(client, stream) {
  let page = await client.listShards({ StreamName: stream, MaxResults: 3 })
  const shards = [...page.Shards]
  while (page.NextToken) {
    page = await client.listShards({ NextToken: page.NextToken, MaxResults: 3 })
    shards.push(...page.Shards)
  }
  return shards
}

// read returns a shard's records from its trim horizon to its end, or to the tip while it is open.
async function read(client, stream, shard, shards) {
  let { ShardIterator } = await client.getShardIterator({ StreamName: stream, ShardId: shard.ShardId, ShardIteratorType: 'TRIM_HORIZON' })
  const records = []
  for (;;) {
    const page = await client.getRecords({ ShardIterator, Limit: 1000 })
    records.push(...page.Records)
    if (page.NextShardIterator === undefined) {
      assert(isClosed(shard), `${shard.ShardId} ends although it is open`)
      const children = shards.filter(s => parents(s).includes(shard.ShardId)).map(s => s.ShardId)
      assert.deepEqual((page.ChildShards ?? []).map(c => c.ShardId).sort(), children.sort())
      return records
    }
    assert.notEqual(page.NextShardIterator, ShardIterator)
    if (!isClosed(shard) && page.Records.length === 0 && page.MillisBehindLatest === 0) return records
    ShardIterator = page.NextShardIterator
  }
}

// checkShards: each shard holds what was acknowledged for it, byte for byte, in rising order.
function checkShards(shards, records, acknowledged, total) {
  let seen = 0
  for (const shard of shards) {
    const got = records.get(shard.ShardId)
    const want = (acknowledged.get(shard.ShardId) ?? []).sort((a, b) => (a.sequence < b.sequence ? -1 : 1))
    assert.equal(got.length, want.length, `${shard.ShardId}: records read and acknowledged`)
    const [low, high] = range(shard)
    got.forEach((record, i) => {
      assert.equal(BigInt(record.SequenceNumber), want[i].sequence)
      assert.equal(Buffer.from(record.Data).toString(), want[i].line)
      const hash = BigInt('0x' + createHash('md5').update(record.PartitionKey).digest('hex'))
      assert(low <= hash && hash <= high, `${record.PartitionKey} is outside ${shard.ShardId}`)
    })
    seen += got.length
  }
  assert.equal(seen, total)
}

// checkKeys: parents read before their children, every key's lines come in the order they were put.
function checkKeys(shards, records, lines) {
  const waiting = new Map(shards.map(s => [s.ShardId, s]))
  const got = new Map()
  const append = (map, key, line) => map.set(key, [...(map.get(key) ?? []), line])
  const visit = id => {
    const shard = waiting.get(id)
    if (!shard) return
    waiting.delete(id)
    parents(shard).forEach(visit)
    for (const record of records.get(id)) append(got, record.PartitionKey, Buffer.from(record.Data).toString())
  }
  shards.forEach(s => visit(s.ShardId))
  const want = new Map()
  for (const line of lines) append(want, keyOf(line), line)
  for (const [key, order] of want) assert.deepEqual(got.get(key), order, `order of ${key}`)
}

await main(process.argv.slice(2))
