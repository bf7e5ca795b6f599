package row

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/headrace/headrace/internal/record"
)

// Consumer is what the row of a consumer says.
//
// CREATING ends by itself when its time has come, so that no row need be written for that.
type Consumer struct {
	Stream uint64
	Name   string
	// Created is when it was registered, in seconds.
	Created int64
	Tags    map[string]string
	// Policy is the resource policy, "" if there is none.
	Policy string
	// Due is when it becomes ACTIVE, or is gone if it is Deleting.
	Due      record.Millis
	Deleting bool
}

// consumerRow is the row itself.
type consumerRow struct {
	Layout   int               `json:"v"`
	Created  int64             `json:"created"`
	Tags     map[string]string `json:"tags,omitempty"`
	Policy   string            `json:"policy,omitempty"`
	Due      record.Millis     `json:"due,omitempty"`
	Deleting bool              `json:"deleting,omitempty"`
}

// ConsumersKey returns what the keys of a stream's consumers begin with.
func ConsumersKey(stream uint64) string { return fmt.Sprintf("%s%016x/", ConsumerPrefix, stream) }

// Key returns the key of the row.
func (c *Consumer) Key() string { return ConsumersKey(c.Stream) + c.Name }

// Over reports whether the consumer is gone at a time, whether or not its row still is there.
func (c *Consumer) Over(now record.Millis) bool { return c.Deleting && c.Due <= now }

// Status returns the consumer's status at a time at which it is there.
func (c *Consumer) Status(now record.Millis) Status {
	switch {
	case c.Deleting:
		return Deleting
	case now < c.Due:
		return Creating
	}
	return Active
}

// Encode returns the bytes of the row.
func (c *Consumer) Encode() []byte {
	return Encode(consumerRow{
		Layout: Version, Created: c.Created, Tags: c.Tags, Policy: c.Policy, Due: c.Due, Deleting: c.Deleting,
	})
}

// DecodeConsumer reads the row of a consumer. One of a layout that is not known here is an error.
func DecodeConsumer(key string, value []byte) (c Consumer, err error) {
	if c.Stream, c.Name, err = ParseConsumerKey(key); err != nil {
		return Consumer{}, err
	}
	var r consumerRow
	if err := decode(key, value, &r); err != nil {
		return Consumer{}, err
	}
	if r.Layout != Version {
		return Consumer{}, unknown(key, r.Layout)
	}
	c.Created, c.Tags, c.Policy, c.Due, c.Deleting = r.Created, r.Tags, r.Policy, r.Due, r.Deleting
	return c, nil
}

// ParseConsumerKey takes the key of a consumer's row apart.
func ParseConsumerKey(key string) (stream uint64, name string, err error) {
	id, name, ok := strings.Cut(strings.TrimPrefix(key, ConsumerPrefix), "/")
	if !ok || len(id) != 16 || name == "" {
		return 0, "", fmt.Errorf("read row %s: not the key of a consumer", key)
	}
	if stream, err = strconv.ParseUint(id, 16, 64); err != nil {
		return 0, "", fmt.Errorf("read row %s: %w", key, err)
	}
	return stream, name, nil
}
