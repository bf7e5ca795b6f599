package stream

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
)

// consumer is one consumer: the row of it with the version it was read at. It is never changed.
//
// CREATING ends by itself when its time has come, so that no row need be written for that.
type consumer struct {
	stream uint64
	name   string
	// created is when it was registered, in seconds.
	created int64
	tags    map[string]string
	// policy is the resource policy, "" if there is none.
	policy string
	// due is when it becomes ACTIVE, or is gone if it is deleting.
	due      record.Millis
	deleting bool
	version  coordinator.Version
}

// consumerRow is the row of a consumer.
type consumerRow struct {
	Layout   int               `json:"v"`
	Created  int64             `json:"created"`
	Tags     map[string]string `json:"tags,omitempty"`
	Policy   string            `json:"policy,omitempty"`
	Due      record.Millis     `json:"due,omitempty"`
	Deleting bool              `json:"deleting,omitempty"`
}

// consumersKey returns what the keys of a stream's consumers begin with.
func consumersKey(stream uint64) string { return fmt.Sprintf("%s%016x/", consumerPrefix, stream) }

func (c *consumer) key() string { return consumersKey(c.stream) + c.name }

// over reports whether the consumer is gone at a time, whether or not its row still is there.
func (c *consumer) over(now record.Millis) bool { return c.deleting && c.due <= now }

// status returns the consumer's status at a time at which it is there.
func (c *consumer) status(now record.Millis) Status {
	switch {
	case c.deleting:
		return Deleting
	case now < c.due:
		return Creating
	}
	return Active
}

func (c *consumer) encode() []byte {
	return encodeRow(consumerRow{
		Layout: rowVersion, Created: c.created, Tags: c.tags, Policy: c.policy, Due: c.due, Deleting: c.deleting,
	})
}

func decodeConsumer(e coordinator.Entry) (*consumer, error) {
	c := &consumer{version: e.Version}
	var err error
	if c.stream, c.name, err = parseConsumerKey(e.Key); err != nil {
		return nil, err
	}
	var row consumerRow
	if err := json.Unmarshal(e.Value, &row); err != nil {
		return nil, fmt.Errorf("read row %s: %w", e.Key, err)
	}
	if row.Layout != rowVersion {
		return nil, fmt.Errorf("read row %s: layout %d is not known here", e.Key, row.Layout)
	}
	c.created, c.tags, c.policy, c.due, c.deleting = row.Created, row.Tags, row.Policy, row.Due, row.Deleting
	return c, nil
}

func parseConsumerKey(key string) (stream uint64, name string, err error) {
	id, name, ok := strings.Cut(strings.TrimPrefix(key, consumerPrefix), "/")
	if !ok || len(id) != 16 || name == "" {
		return 0, "", fmt.Errorf("read row %s: not the key of a consumer", key)
	}
	if stream, err = strconv.ParseUint(id, 16, 64); err != nil {
		return 0, "", fmt.Errorf("read row %s: %w", key, err)
	}
	return stream, name, nil
}

// knowConsumer takes in a consumer's row and returns its stream's entry if the row is news.
// REQUIRES: rows held.
func (s *Streams) knowConsumer(c change) *entry {
	known := *c.consumer
	known.version = c.version
	e := s.rows.byID[known.stream]
	consumers := s.rows.lostConsumers[known.stream]
	switch {
	case e != nil:
		consumers = e.consumers
	case consumers == nil:
		consumers = map[string]*consumer{}
		s.rows.lostConsumers[known.stream] = consumers
	}
	if old := consumers[known.name]; old != nil && old.version >= known.version {
		return nil
	}
	consumers[known.name] = &known
	return e
}

// forgetConsumer takes in the deletion of a consumer's row and returns its stream's entry if that is news.
// REQUIRES: rows held.
func (s *Streams) forgetConsumer(c change) *entry {
	stream, name, err := parseConsumerKey(c.key)
	if err != nil {
		return nil
	}
	if e := s.rows.byID[stream]; e != nil {
		if old := e.consumers[name]; old != nil && old.version <= c.version {
			delete(e.consumers, name)
			s.subscriptions.endConsumer(old, consumerNotFound(e.scope, name))
			s.bury(c, old.version)
			return e
		}
	} else if lost := s.rows.lostConsumers[stream]; lost != nil {
		if delete(lost, name); len(lost) == 0 {
			delete(s.rows.lostConsumers, stream)
		}
	}
	s.unbury(c)
	return nil
}
