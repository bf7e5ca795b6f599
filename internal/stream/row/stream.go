package row

import (
	"fmt"
	"maps"

	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/stream/keyspace"
	"github.com/headrace/headrace/internal/stream/seal"
)

// Status is where a stream, or a consumer, is in its life.
type Status string

// The statuses, as DescribeStream spells them.
const (
	Creating Status = "CREATING"
	Active   Status = "ACTIVE"
	Updating Status = "UPDATING"
	Deleting Status = "DELETING"
)

// Mode is a stream's capacity mode.
type Mode string

// The modes, as DescribeStream spells them.
const (
	Provisioned Mode = "PROVISIONED"
	OnDemand    Mode = "ON_DEMAND"
)

// ShardMetric is a metric that each shard of a stream has of its own when it is turned on, as AWS spells it.
type ShardMetric string

// Stream is the row of a stream.
type Stream struct {
	Layout int `json:"v"`
	// ID names the stream's logs. It is random and never used again.
	ID      uint64 `json:"id"`
	Account string `json:"account"`
	Region  string `json:"region"`
	Name    string `json:"name"`
	Status  Status `json:"status"`
	Mode    Mode   `json:"mode"`
	// Created is StreamCreationTimestamp, in whole seconds.
	Created        int64             `json:"created"`
	RetentionHours int               `json:"retentionHours"`
	MaxRecordKiB   int               `json:"maxRecordKiB"`
	Tags           map[string]string `json:"tags,omitempty"`
	// Policy is the resource policy, "" if there is none.
	Policy string `json:"policy,omitempty"`
	// Metrics are the shard-level metrics that are on.
	Metrics []ShardMetric `json:"metrics,omitempty"`
	// Auto says that records are placed evenly, whatever their keys.
	Auto bool `json:"auto,omitempty"`
	// WarmMiBps is the warm throughput that was asked for, 0 if none was.
	WarmMiBps int `json:"warmMiBps,omitempty"`
	// Scalings, Switches and Sealings are when the shard count and the mode were changed and encryption was
	// started in the last day, where AWS's limits hold.
	Scalings []record.Millis `json:"scalings,omitempty"`
	Switches []record.Millis `json:"switches,omitempty"`
	Sealings []record.Millis `json:"sealings,omitempty"`
	// Encryption is how records are sealed that are taken now. Keys are all data keys, the oldest first.
	Encryption Encryption `json:"encryption,omitzero"`
	Keys       []seal.Row `json:"keys,omitempty"`
	// Shards is how many shards the stream is created with.
	Shards int `json:"shards"`
	// NextShard is the number the next new shard gets; numbers are never used again.
	NextShard int32 `json:"nextShard"`
	// Horizon is a time before which everything has expired: shards that closed by then do not come
	// back, however long the retention becomes and whatever the clock does.
	Horizon record.Millis `json:"horizon,omitempty"`
	// Due is when the transition may be carried out.
	Due record.Millis `json:"due,omitempty"`
	// Plan says what an UPDATING stream is about to become.
	Plan *Plan `json:"plan,omitempty"`
}

// Encryption is how a stream seals the records that it takes; the zero value does not.
type Encryption struct {
	// KeyID is the KeyId as it was given. Key is the number of the data key, from 1.
	KeyID string `json:"keyId,omitempty"`
	Key   uint32 `json:"key,omitempty"`
}

// Plan is what is left to do before an UPDATING stream is ACTIVE again.
type Plan struct {
	// Ops are splits or merges that have been begun, each independent of the others.
	Ops []keyspace.Op `json:"ops,omitempty"`
	// Target, unless 0, asks for further ops until there are so many uniform shards.
	Target int `json:"target,omitempty"`
	// Retain asks that the logs learn the row's retention.
	Retain bool `json:"retain,omitempty"`
	// Encryption, unless nil, is what the row's is to be.
	Encryption *Encryption `json:"encryption,omitempty"`
}

// Reshards says whether the plan makes shards; nil makes none.
func (p *Plan) Reshards() bool { return p != nil && (p.Target > 0 || len(p.Ops) > 0) }

// Key returns the key of the row.
func (r *Stream) Key() string { return StreamKey(r.Account, r.Region, r.Name) }

// Retention returns how long records are kept, in milliseconds.
func (r *Stream) Retention() record.Millis { return record.Millis(r.RetentionHours) * 3600_000 }

// Clone returns a copy that may be changed, though not what lies in its slices.
func (r *Stream) Clone() *Stream {
	c := *r
	c.Tags = maps.Clone(r.Tags)
	if r.Plan != nil {
		p := *r.Plan
		c.Plan = &p
	}
	return &c
}

// Do puts one op into the row as its plan.
func (r *Stream) Do(o keyspace.Op) {
	r.Plan = &Plan{Ops: []keyspace.Op{o}}
	r.NextShard = LastChild(r.Plan.Ops) + 1
}

// LastChild returns the highest number of a shard that ops make. There must be some.
func LastChild(ops []keyspace.Op) int32 {
	c := ops[len(ops)-1].Children
	return c[len(c)-1].Number
}

// DecodeStream reads the row of a stream. One of a layout that is not known here is an error, and so is one
// that lies at another stream's key.
func DecodeStream(key string, value []byte) (*Stream, error) {
	r := new(Stream)
	if err := decode(key, value, r); err != nil {
		return nil, err
	}
	if r.Layout != Version && r.Layout != EncryptedVersion {
		return nil, unknown(key, r.Layout)
	}
	if r.Key() != key {
		return nil, fmt.Errorf("read row %s: it describes %s", key, r.Key())
	}
	return r, nil
}
