// What the AWS SDK for JavaScript v3 makes of answers beyond the main job: exception classes,
// paginators, waiters, timestamps, empty answers, bytes, all over HTTP/2.
// Usage: surface.mjs ENDPOINT STREAM
import assert from 'node:assert/strict'
import {
  InvalidArgumentException, Kinesis, LimitExceededException, ResourceInUseException, ResourceNotFoundException,
  paginateListStreams, waitUntilStreamExists, waitUntilStreamNotExists,
} from '@aws-sdk/client-kinesis'

const LARGEST = 10 * 1024 * 1024
const WAIT = { maxWaitTime: 30, minDelay: 1, maxDelay: 1 }

async function main([endpoint, stream]) {
  const client = new Kinesis({ endpoint, maxAttempts: 1 })
  assert.equal(client.config.requestHandler.metadata.handlerProtocol, 'h2')
  const names = [0, 1, 2, 3, 4].map(n => `${stream}-${n}`)
  for (const StreamName of names) await client.createStream({ StreamName, ShardCount: 3 })
  for (const StreamName of names) assert.equal((await waitUntilStreamExists({ client, ...WAIT }, { StreamName })).state, 'SUCCESS')
  await errors(client, names[0])
  await paginators(client, names)
  await emptyAnswers(client, names[0])
  await roundTrips(client, names[1])
  for (const StreamName of names) await client.deleteStream({ StreamName })
  for (const StreamName of names) assert.equal((await waitUntilStreamNotExists({ client, ...WAIT }, { StreamName })).state, 'SUCCESS')
  client.destroy()
  console.log('ok: exceptions, paginators, waiters, timestamps, empty answers, 10 MiB, HTTP/2')
}

async function errors(client, StreamName) {
  const fails = (call, exception, message) => assert.rejects(call, err => {
    assert(err instanceof exception, `${err.name} is not a ${exception.name}`)
    assert(err.message.includes(message), err.message)
    assert.match(err.$metadata.requestId, /^[0-9a-f-]{36}$/)
    assert.equal(err.$metadata.httpStatusCode, 400)
    assert.equal(err.$fault, 'client')
    return true
  })
  await fails(client.describeStream({ StreamName: 'nope' }), ResourceNotFoundException, 'Stream nope under account 000000000000 not found.')
  await fails(client.createStream({ StreamName, ShardCount: 1 }), ResourceInUseException, 'already exists.')
  await fails(client.getRecords({ ShardIterator: 'AAAA' }), InvalidArgumentException, 'Invalid ShardIterator.')
  await fails(client.updateShardCount({ StreamName, TargetShardCount: 100, ScalingType: 'UNIFORM_SCALING' }), LimitExceededException, '')
  await assert.rejects(client.describeStream({ StreamName: 'a b' }), { message: /failed to satisfy constraint/ })
}

async function paginators(client, names) {
  const streams = []
  for await (const page of paginateListStreams({ client, pageSize: 2 }, {})) streams.push(...page.StreamNames)
  assert.deepEqual(streams, names)
}

async function emptyAnswers(client, StreamName) {
  const answers = [
    await client.addTagsToStream({ StreamName, Tags: { team: 'web', größe: 'ein = zwei' } }),
    await client.removeTagsFromStream({ StreamName, TagKeys: ['team'] }),
    await client.increaseStreamRetentionPeriod({ StreamName, RetentionPeriodHours: 48 }),
  ]
  for (const answer of answers) assert.deepEqual(Object.keys(answer), ['$metadata'])
  const { Tags } = await client.listTagsForStream({ StreamName })
  assert.deepEqual(Tags, [{ Key: 'größe', Value: 'ein = zwei' }])
}

async function roundTrips(client, StreamName) {
  const { StreamDescriptionSummary: summary } = await client.describeStreamSummary({ StreamName })
  await client.updateMaxRecordSize({ StreamARN: summary.StreamARN, MaxRecordSizeInKiB: 10240 })
  await waitUntilStreamExists({ client, ...WAIT }, { StreamName })
  const largest = Buffer.alloc(LARGEST - 4).map((_, i) => (i * 31) >> 3)
  const sent = [Buffer.alloc(0), Buffer.from(Array.from({ length: 256 }, (_, i) => i)), Buffer.from('äöü 🌊'), largest]
  const begun = new Date(Date.now() - 5000)
  let ShardId
  for (const Data of sent) ({ ShardId } = await client.putRecord({ StreamName, PartitionKey: 'äö', Data }))
  let { ShardIterator } = await client.getShardIterator({ StreamName, ShardId, ShardIteratorType: 'AT_TIMESTAMP', Timestamp: begun })
  const got = []
  while (got.length < sent.length) {
    const page = await client.getRecords({ ShardIterator })
    assert(page.Records.length > 0 || page.MillisBehindLatest > 0, `only ${got.length} records`)
    got.push(...page.Records)
    ShardIterator = page.NextShardIterator
  }
  sent.forEach((data, i) => assert(Buffer.from(got[i].Data).equals(data), `record ${i} came back with other bytes`))
  const arrived = got.map(r => r.ApproximateArrivalTimestamp)
  assert(arrived.every(t => t instanceof Date && t >= begun), `${arrived}`)
  assert(arrived.some(t => t.getMilliseconds() !== 0), 'no arrival time has milliseconds')
}

await main(process.argv.slice(2))
