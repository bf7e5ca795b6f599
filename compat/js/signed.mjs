// A round trip with the credentials of the environment, against a server that verifies signatures. The
// client signs HTTP/2's :authority. Prints "accepted", or what the server refused it with.
// Usage: signed.mjs ENDPOINT STREAM
import assert from 'node:assert/strict'
import { Kinesis, KinesisServiceException } from '@aws-sdk/client-kinesis'

async function roundTrip(client, StreamName) {
  await client.createStream({ StreamName, ShardCount: 1 })
  const sent = [0, 1, 2000].map(n => Buffer.from(Array.from({ length: 256 * n }, (_, i) => i % 256)))
  const put = await client.putRecords({ StreamName, Records: sent.map(Data => ({ Data, PartitionKey: 'ä ö' })) })
  assert.equal(put.FailedRecordCount, 0)
  const { ShardIterator } = await client.getShardIterator({ StreamName, ShardId: put.Records[0].ShardId, ShardIteratorType: 'TRIM_HORIZON' })
  const got = await client.getRecords({ ShardIterator })
  assert.deepEqual(got.Records.map(record => Buffer.from(record.Data)), sent)
}

async function main([endpoint, stream]) {
  const client = new Kinesis({ endpoint, maxAttempts: 1 })
  assert.equal(client.config.requestHandler.metadata.handlerProtocol, 'h2')
  try {
    await roundTrip(client, stream)
    console.log('accepted')
  } catch (err) {
    if (!(err instanceof KinesisServiceException)) throw err
    console.log(`${err.name}: ${err.message}`)
  }
  client.destroy()
}

await main(process.argv.slice(2))
