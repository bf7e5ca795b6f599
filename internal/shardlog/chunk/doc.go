// Package chunk is the layout of a lane's groups and of the chunks in them. It turns values into bytes
// and back, and does no I/O of its own; what the chunks mean for a shard, and the body of a state, is
// package shardlog's. How a record is written is package entry's.
//
//	for r := chunk.NewReader(position, payload); r.Next(); { use(&r.Chunk) }
//	if r.Err != nil …
//
// # Layout of a group
//
// A group is what one append to the lane makes durable: a header and chunks of many shards. All
// integers are little-endian; varints are those of encoding/binary. Checksums, encryption and the
// order of groups are the lane engine's.
//
//	group   ┌─────────┬───────────┬───────────┬─────────┬─────────┬──
//	        │ version │ zero      │ chunks    │ chunk   │ chunk   │ …
//	        │ 1 byte  │ 3         │ 4         │         │         │
//	        └─────────┴───────────┴───────────┴─────────┴─────────┴──
//	chunk   ┌──────┬──────┬───────┬──────┬────────┬───────┬────────┐
//	        │ size │ kind │ flags │ zero │ stream │ shard │ key id │
//	        │ 4    │ 1    │ 1     │ 2    │ 8      │ 4     │ 4      │
//	        ├──────┴┬─────┴───┬───┴───┬──┴────┬───┴───────┴────────┤
//	        │ first │ arrival │ count │ bytes │ body …             │
//	        │ 8     │ 8       │ 4     │ 4     │ size-48            │
//	        └───────┴─────────┴───────┴───────┴────────────────────┘
//
// size counts the whole chunk. key id is reserved for encryption and 0. What the other fields and
// the body hold depends on the kind:
//
//	kind 1 data     count records from index first, all of them arrived at arrival (milliseconds
//	                since the Unix epoch); bytes is the sum of their keys and data (record.Entry.Size). Body:
//	                [producer id 8, epoch 8, sequence 8 when flag 1], then records.
//	kind 2 part     a slice of a data chunk that is too large for a group: the fields are the data
//	                chunk's. Body: number of the part from 0 (4), offset of the slice (8) in and
//	                length (8) of the data chunk's body, the slice. The parts of one chunk fill
//	                groups that follow each other, and the batch exists only if all are there.
//	kind 3 state    all that is known of a shard but its records. first is the oldest record kept,
//	                arrival that of the newest record ever, count the number of holds, bytes of
//	                producers. Body: next index 8, trim position 8, retention age in
//	                nanoseconds 8, [number of jumps 4, jumps (first index left out 8, index after
//	                the last 8) when flag 16], holds (name length varint, name, index 8),
//	                producers (id 8, epoch 8, sequence 8).
//	kind 4 drop     the shard is forgotten, with everything of it that came before. No body.
//
//	flag 1 producer the data carries a producer
//	flag 2 moved    data that stood in an older group and was carried forward; it takes the place
//	                of the chunk with the same first index
//	flag 4 sealed   the state is that of a sealed shard
//	flag 8 whole    the state lists all producers: nothing about the shard need be remembered from
//	                older groups but its records
//	flag 16 jumped  the state has jumps: indexes that restores have left out (package jump)
//
//	record  ┌─────────────┬────────────────────────┬───────────────────┬─────┬──────┐
//	        │ data length │ key length × 2         │ explicit hash key │ key │ data │
//	        │ varint      │ + 1 if hash key        │ 0 or 16 (hi, lo)  │     │      │
//	        │             │ + 2³¹ if sealed varint │                   │     │      │
//	        └─────────────┴────────────────────────┴───────────────────┴─────┴──────┘
package chunk
