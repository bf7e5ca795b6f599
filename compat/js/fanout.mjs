// Subscribes with the AWS SDK for JavaScript v3 to the shards of a stream and their children, over HTTP/2,
// while records are put and shards split and merge: every record comes once, those of a key in their order.
// Usage: fanout.mjs ENDPOINT STREAM
import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import { Kinesis, waitUntilStreamExists } from '@aws-sdk/client-kinesis'

const WAIT = { maxWaitTime: 30, minDelay: 1, maxDelay: 1 }

async function main([endpoint, StreamName]) {
  const client = new Kinesis({ endpoint, maxAttempts: 1 })
  assert.equal(client.config.requestHandler.metadata.handlerProtocol, 'h2')
  const settle = () => waitUntilStreamExists({ client, ...WAIT }, { StreamName })
  await client.createStream({ StreamName, ShardCount: 2 })
  await settle()
  const { StreamDescriptionSummary: { StreamARN } } = await client.describeStreamSummary({ StreamName })
  const { Consumer: { ConsumerARN } } = await client.registerStreamConsumer({ StreamARN, ConsumerName: 'wheel' })
  while ((await client.describeStreamConsumer({ ConsumerARN })).ConsumerDescription.ConsumerStatus !== 'ACTIVE') await pause(100)

  const put = new Map(), seen = new Map(), order = [], begun = new Set(), done = new Set(), readers = []
  let stopping = false
  const begin = shard => {
    if (begun.has(shard)) return
    begun.add(shard)
    const reader = read(shard)
    reader.catch(() => {}) // awaited at the end
    readers.push(reader)
  }
  const read = async ShardId => {
    for (const child of await follow(ShardId)) {
      done.add(ShardId)
      if (child.ParentShards.every(p => done.has(p))) begin(child.ShardId)
    }
  }
  const follow = async ShardId => {
    let StartingPosition = { Type: 'TRIM_HORIZON' }
    try {
      while (!stopping) {
        const { EventStream } = await client.subscribeToShard({ ConsumerARN, ShardId, StartingPosition })
        for await (const { SubscribeToShardEvent: event } of EventStream) {
          for (const { SequenceNumber, Data } of event.Records) {
            const data = Buffer.from(Data).toString()
            assert(!seen.has(SequenceNumber), `${data} came twice`)
            seen.set(SequenceNumber, data)
            order.push(data)
          }
          if (event.ChildShards?.length) {
            assert.equal(event.ContinuationSequenceNumber, undefined)
            return event.ChildShards
          }
          StartingPosition = { Type: 'AFTER_SEQUENCE_NUMBER', SequenceNumber: event.ContinuationSequenceNumber }
        }
      }
    } catch (err) {
      if (!stopping) throw err
    }
    return []
  }

  begin('shardId-000000000000')
  begin('shardId-000000000001')
  for (let batch = 0; batch < 60; batch++) {
    const data = Array.from({ length: 20 }, (_, n) => `key-${n % 9}/${String(batch * 20 + n).padStart(5, '0')}`)
    const { FailedRecordCount, Records } = await client.putRecords({ StreamName, Records: data.map(d => ({ PartitionKey: d.split('/')[0], Data: Buffer.from(d) })) })
    assert.equal(FailedRecordCount, 0)
    Records.forEach((r, i) => put.set(r.SequenceNumber, data[i]))
    if (batch === 20) {
      await client.splitShard({ StreamName, ShardToSplit: 'shardId-000000000000', NewStartingHashKey: '85070591730234615865843651857942052864' })
      await settle()
    }
    if (batch === 40) {
      await client.mergeShards({ StreamName, ShardToMerge: 'shardId-000000000003', AdjacentShardToMerge: 'shardId-000000000001' })
      await settle()
    }
  }
  for (let n = 0; seen.size < put.size && n < 600; n++) await pause(100)
  stopping = true
  await client.deleteStream({ StreamName, EnforceConsumerDeletion: true }) // ends the subscriptions
  await Promise.all(readers)
  assert.deepEqual(new Map([...seen].sort()), new Map([...put].sort()))
  const last = {}
  for (const data of order) {
    const key = data.split('/')[0]
    assert(!(last[key] >= data), `${data} came after ${last[key]}`)
    last[key] = data
  }
  client.destroy()
  console.log(`ok: ${seen.size} records pushed through ${begun.size} shards, HTTP/2`)
}

await main(process.argv.slice(2))
