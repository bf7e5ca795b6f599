// Package aggregation is the record format of the Kinesis Producer Library: many user records in the
// data of one Kinesis record. Reader takes such data apart, Builder puts it together.
//
// It is a codec and no producer: it sends nothing, keeps no time, and does not know shards. Records of
// one aggregate share the shard that the aggregate is put to, so a producer builds one for each.
//
// # Format
//
// An aggregate is the four bytes F3 89 9A C2, a protobuf message, and the 16 bytes of the message's
// MD5:
//
//	message AggregatedRecord {
//	  repeated string partition_key_table = 1;
//	  repeated string explicit_hash_key_table = 2;
//	  repeated Record records = 3;
//	}
//	message Record {
//	  required uint64 partition_key_index = 1;
//	  optional uint64 explicit_hash_key_index = 2;
//	  required bytes data = 3;
//	  repeated Tag tags = 4;
//	}
//
// Tags, which no known producer sets, are read over. Source: aggregation-format.md in
// github.com/awslabs/amazon-kinesis-producer.
package aggregation

import "crypto/md5"

// Record is a record as its producer meant it.
type Record struct {
	// PartitionKey is 1 to 256 characters.
	PartitionKey string
	// ExplicitHashKey is a decimal number below 2^128 that takes the place of the partition key's
	// MD5; empty if the record has none.
	ExplicitHashKey string
	// Data is the record's data.
	Data []byte
}

const (
	magic = "\xf3\x89\x9a\xc2"
	// frame is what stands around the message.
	frame = len(magic) + md5.Size
)

// Tags of the fields in the protobuf message: the field's number and its wire type.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5

	fieldPartitionKeys = 1<<3 | wireBytes
	fieldHashKeys      = 2<<3 | wireBytes
	fieldRecords       = 3<<3 | wireBytes

	fieldPartitionKey = 1<<3 | wireVarint
	fieldHashKey      = 2<<3 | wireVarint
	fieldData         = 3<<3 | wireBytes
)

// Maybe reports whether data begins as an aggregate does and is long enough for one. Whether it is
// one, Reader.Reset says.
func Maybe(data []byte) bool {
	return len(data) > frame && string(data[:len(magic)]) == magic
}
