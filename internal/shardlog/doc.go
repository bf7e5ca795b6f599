// Package shardlog is every shard's log, written once for all engines: it takes batches of records
// for many shards, makes them durable through one lane (package lane), and reads them back by
// index and by time. It knows shards, retention, seals, holds and producers; it knows nothing of
// streams, hash keys, iterators or AWS, and nothing of how a lane stores its groups.
//
// Log and Registry are the contract. Store is the one implementation; package shardlogtest is the
// kit it passes.
//
//	store, err := shardlog.Open(ctx, shardlog.Config{Lane: mem.New(mem.Config{}), Clock: clock.System{}})
//	err = store.Open(ctx, []shardlog.ShardID{id}, shardlog.Retention{Age: 24 * time.Hour})
//	results, err := store.Append(ctx, []shardlog.Batch{{Shard: id, Entries: entries}})
//	page, err := store.Read(ctx, id, results[0].First, shardlog.Limit{Records: 10_000, Bytes: 10 << 20})
//	defer page.Release()
//
// # Two tiers
//
// With Config.Bucket nil everything is in the lane and in memory. With a bucket that holds only the
// newest records; older ones are in block files (package block), which a manifest names. tier.go
// says how they get there, flush.go, merge.go and manifest.go do it, blocks.go reads. A page takes
// from both. docs/format has the layout of both kinds of object. cut.go cuts a running store for a
// backup, restore.go makes a store of a cut.
//
// # Groups
//
// A group is what one append to the lane makes durable: a header and chunks of many shards, which
// package chunk draws. Checksums, encryption and the order of groups are the lane engine's. A group
// with no chunks is a fence: Open appends one, so that a former owner of the lane can acknowledge
// nothing from then on.
//
// # What a lane must hold
//
// With a bucket: the groups from the newest manifest's position on, which has every shard's state.
// What follows is about a store without one.
//
// Every control change writes the whole state of its shard, so replaying a lane needs, for each
// shard, its last whole state, whatever came after it, and the data chunks still wanted. Store
// trims the lane up to the first group that holds any of these. A quiet old group would pin
// everything behind it; when the dead bytes exceed half the live ones, Store carries what lives in
// the oldest groups forward into a new one and trims past them (reclaim.go).
package shardlog
