// Package block is the file format of the second tier: records of many shards, sorted by shard, cut
// into compressed blocks, with a footer that says where each shard's records are and when they
// arrived. It turns runs of encoded records into bytes and bytes back into runs. It does no I/O of
// its own, knows nothing of lanes, manifests or retention, and never looks inside a record.
//
//	w := block.NewBody(7, source)                  // source yields runs in order
//	info, err := bucket.Put(ctx, key, w)           // w is an io.Reader
//	w.Layout()                                     // what a manifest keeps of the file
//	…
//	f, err := block.ParseFooter(key, layout, tail) // tail: the bytes from layout.Footer to the end
//	raw, err := block.Decode(key, ref, bytes, &room) // bytes: those of f.Block(n)
//	runs, err := block.Section(key, ref, raw, m, p)
//
// # Layout of a file
//
// All integers are little-endian. Checksums are CRC-32C. docs/format/blocks.md has the same with
// every byte's place.
//
//	file    header | block | block | … | footer | trailer
//	header  magic "HRbk" 4 | version 1 | zero 3 | file id 8
//	block   codec 1 | zero 3 | key id 4 | raw length 4 | stored length 4 | checksum 4 | stored bytes
//	raw     section | section | …           what a block's bytes decompress to
//	section stream 8 | shard 4 | runs 4 | born 8 | first index 8 | bytes of runs 4 | zero 4 | run | …
//	run     arrival 8 | count 4 | bytes 4 | records
//	footer  blocks 4 | members 4 | pieces 4 | zero 4 | block table | member table | piece table
//	trailer footer offset 8 | footer length 8 | footer checksum 4 | version 1 | zero 3 | file id 8 |
//	        checksum of the trailer 4 | magic "HRbt" 4
//
// A member is an unbroken range of one shard's records; a shard usually has one in a file. A piece
// is the part of a member that stands in one block, where it is a section. A run is records that
// follow each other and arrived at the same time; its bytes are as in package shardlog's data chunks.
// Codec 0 is stored as is, 1 is S2. The key id is reserved for encryption and 0.
package block
