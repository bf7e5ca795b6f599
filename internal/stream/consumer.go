package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/headrace/headrace/internal/coordinator"
	"github.com/headrace/headrace/internal/record"
	"github.com/headrace/headrace/internal/shardlog"
	"github.com/headrace/headrace/internal/stream/row"
)

const (
	// maxConsumers is how many consumers a stream may have, and maxCreating how many of them CREATING.
	maxConsumers, maxCreating = 20, 5
	// listConsumers is how many consumers ListConsumers returns unless told otherwise.
	listConsumers = 100
)

// Consumer is what is told of a consumer: somebody with a name who may subscribe to the shards of a stream.
type Consumer struct {
	Name, ARN, StreamARN string
	// Status is Creating, Active or Deleting.
	Status Status
	// Created is in whole seconds, which its ARN ends with.
	Created record.Millis
}

// ConsumerRef is how a request names a consumer: by its ARN, or by its stream's and its name. If both are
// given they must agree.
type ConsumerRef struct{ ARN, StreamARN, Name string }

// consumer is one consumer: what its row says, with the version that it was read at. It is never changed.
type consumer struct {
	row.Consumer
	version coordinator.Version
}

// arn returns the ARN of a consumer of the stream with an ARN.
func (c *consumer) arn(stream string) string {
	return stream + consumerInfix + c.Name + ":" + strconv.FormatInt(c.Created, 10)
}

// consumerInfix stands between the stream and the consumer in a consumer's ARN.
const consumerInfix = "/consumer/"

// consumerARN is a consumer's ARN, taken apart.
type consumerARN struct {
	scope        Scope
	stream, name string
	created      string
}

// parseConsumerARN takes a consumer's ARN apart; ok is false for what is none.
func parseConsumerARN(arn string) (p consumerARN, ok bool) {
	head, tail, ok := strings.Cut(arn, consumerInfix)
	if !ok {
		return p, false
	}
	if p.scope, p.stream, ok = ParseARN(head); !ok {
		return p, false
	}
	p.name, p.created, ok = strings.Cut(tail, ":")
	return p, ok && p.name != "" && p.created != "" && !strings.Contains(p.name, "/")
}

// ConsumerARN returns the ARN that a request names a consumer by, whether or not there is one, as policies
// must see it; that of the stream when no registered consumer has the name, and "" for what names nothing.
func (s *Streams) ConsumerARN(sc Scope, ref ConsumerRef) string {
	if ref.ARN != "" {
		return s.ARN(sc, Ref{ARN: ref.ARN})
	}
	if _, v, c, err := s.findConsumer(scopeOf(ref.StreamARN), ref); err == nil {
		return c.arn(v.arn())
	}
	return s.ARN(sc, Ref{ARN: ref.StreamARN})
}

// RegisterConsumer registers a consumer of the stream with an ARN; it is CREATING for the transition delay.
// A name in use is InUse, and so is a stream that is CREATING or DELETING.
func (s *Streams) RegisterConsumer(ctx context.Context, sc Scope, streamARN, name string, tags map[string]string) (Consumer, error) {
	e, _, err := s.find(sc, Ref{ARN: streamARN})
	if err != nil {
		return Consumer{}, err
	}
	if err := checkTags(sc, "stream", e.name, "add tags to", tags); err != nil {
		return Consumer{}, err
	}
	if len(tags) > maxTags {
		return Consumer{}, tooManyTags(sc, "stream", e.name)
	}
	// One at a time a stream, and none while the stream is being told to end: so the limits hold.
	e.enrolling <- struct{}{}
	defer func() { <-e.enrolling }()
	v := e.view.Load()
	if err := s.mayRegister(sc, v, name); err != nil {
		return Consumer{}, err
	}
	now := s.now()
	c := &consumer{Consumer: row.Consumer{
		Stream: e.id, Name: strings.Clone(name), Created: now.Seconds(), Tags: copyTags(nil, tags), Due: s.due(),
	}}
	if old := v.consumers[name]; old != nil { // gone, but for its row
		c.version = old.version
	}
	err = s.writeConsumer(ctx, c)
	switch {
	case errors.Is(err, coordinator.ErrConflict):
		return Consumer{}, consumerExists(sc, e.name, name)
	case err != nil:
		return Consumer{}, err
	}
	if v = e.view.Load(); v.gone { // deleted by another node
		if c := v.consumers[c.Name]; c != nil {
			err = s.deleteConsumer(ctx, c)
		}
		return Consumer{}, errors.Join(streamNotFound(sc, e.name), err)
	}
	registered := c.describe(v, now)
	registered.Status = Creating // as AWS says to whoever registers it
	return registered, nil
}

// mayRegister returns AWS's objection to one more consumer of a stream.
func (s *Streams) mayRegister(sc Scope, v *view, name string) error {
	if v.gone {
		return streamNotFound(sc, v.row.Name)
	}
	if !v.writable() {
		return notActive(sc, v.row.Name, v.row.Status)
	}
	all, creating := v.consumersAt(s.now()), 0
	for _, c := range all {
		if c.Name == name {
			return consumerExists(sc, v.row.Name, name)
		}
		if c.Status(s.now()) == Creating {
			creating++
		}
	}
	switch {
	case len(all) >= maxConsumers:
		return consumerLimitExceeded(sc, v.row.Name, "consumer", len(all), maxConsumers)
	case creating >= maxCreating:
		return consumerLimitExceeded(sc, v.row.Name, "CREATING consumer", creating, maxCreating)
	}
	return nil
}

// DeregisterConsumer takes a consumer away and ends its subscriptions; it is DELETING for the transition
// delay. Deregistering a DELETING consumer does nothing.
func (s *Streams) DeregisterConsumer(ctx context.Context, sc Scope, ref ConsumerRef) error {
	e, _, c, err := s.findConsumer(sc, ref)
	if err != nil {
		return err
	}
	err = s.changeConsumer(ctx, e, c, func(c *consumer) (*consumer, error) {
		if c.Deleting {
			return nil, errUnchanged
		}
		if s.cfg.TransitionDelay <= 0 {
			return nil, nil
		}
		next := *c
		next.Deleting, next.Due = true, s.due()
		return &next, nil
	})
	if err == nil {
		s.subscriptions.endConsumer(c, consumerNotFound(sc, c.Name))
	}
	return err
}

// DescribeConsumer describes a consumer.
func (s *Streams) DescribeConsumer(sc Scope, ref ConsumerRef) (Consumer, error) {
	_, v, c, err := s.findConsumer(sc, ref)
	if err != nil {
		return Consumer{}, err
	}
	return c.describe(v, s.now()), nil
}

// ListConsumersInput selects a page of a stream's consumers.
type ListConsumersInput struct {
	StreamARN string
	// Token continues an earlier list of the same stream's.
	Token string
	// MaxResults is the most consumers to return; 0 means 100.
	MaxResults int
	// Created, if set, must be the stream's creation time.
	Created    record.Millis
	HasCreated bool
}

// ConsumerPage is a page of consumers in the order of their names.
type ConsumerPage struct {
	Consumers []Consumer
	// Token continues the list for the next 300 seconds; it is empty if there is no more.
	Token string
}

// consumerToken is where a list of consumers goes on.
type consumerToken struct {
	Made   record.Millis `json:"t"`
	Stream uint64        `json:"s"`
	After  string        `json:"a"`
}

func (t consumerToken) made() record.Millis { return t.Made }

// ListConsumers returns a page of a stream's consumers.
func (s *Streams) ListConsumers(sc Scope, in ListConsumersInput) (ConsumerPage, error) {
	e, v, err := s.find(sc, Ref{ARN: in.StreamARN})
	if err != nil {
		return ConsumerPage{}, err
	}
	var t consumerToken
	if in.Token != "" {
		if in.HasCreated {
			return ConsumerPage{}, refuse(InvalidArgument, "NextToken and StreamCreationTimestamp cannot be provided together.")
		}
		if err := s.openToken(sc, consumerTokens, in.Token, &t); err != nil {
			return ConsumerPage{}, err
		}
		if t.Stream != e.id {
			return ConsumerPage{}, refuse(InvalidArgument, "NextToken %s is invalid.", in.Token)
		}
	}
	if in.HasCreated && in.Created.Seconds() != v.row.Created {
		return ConsumerPage{}, streamNotFound(sc, e.name)
	}
	limit := in.MaxResults
	if limit <= 0 {
		limit = listConsumers
	}
	now := s.now()
	var page ConsumerPage
	for _, c := range v.consumersAt(now) {
		if c.Name <= t.After {
			continue
		}
		if len(page.Consumers) == limit {
			page.Token = s.sealToken(sc, consumerTokens, consumerToken{now, e.id, page.Consumers[limit-1].Name})
			break
		}
		page.Consumers = append(page.Consumers, c.describe(v, now))
	}
	return page, nil
}

// findConsumer returns the consumer a request names, with its stream.
func (s *Streams) findConsumer(sc Scope, ref ConsumerRef) (*entry, *view, *consumer, error) {
	p := consumerARN{name: ref.Name}
	streamARN := ref.StreamARN
	switch {
	case ref.ARN != "":
		var ok bool
		if p, ok = parseConsumerARN(ref.ARN); !ok {
			return nil, nil, nil, refuse(InvalidArgument, "ConsumerARN %s is invalid.", ref.ARN)
		}
		if p.scope != sc {
			return nil, nil, nil, consumerNotFound(p.scope, p.name)
		}
		named := sc.arn(p.stream)
		if streamARN != "" && streamARN != named || ref.Name != "" && ref.Name != p.name {
			return nil, nil, nil, refuse(InvalidArgument, "ConsumerARN %s does not match the StreamARN and ConsumerName provided with it.", ref.ARN)
		}
		streamARN = named
	case ref.StreamARN == "" || ref.Name == "":
		return nil, nil, nil, refuse(InvalidArgument, "Either ConsumerARN or both StreamARN and ConsumerName should be provided.")
	}
	e, v, err := s.find(sc, Ref{ARN: streamARN})
	if err != nil {
		return nil, nil, nil, err
	}
	c := v.consumers[p.name]
	if c == nil || c.Over(s.now()) || p.created != "" && p.created != strconv.FormatInt(c.Created, 10) {
		return nil, nil, nil, consumerNotFound(sc, p.name)
	}
	return e, v, c, nil
}

// consumersAt returns the consumers there are at a time, by name.
func (v *view) consumersAt(now record.Millis) []*consumer {
	all := make([]*consumer, 0, len(v.consumers))
	for _, name := range slices.Sorted(maps.Keys(v.consumers)) {
		if c := v.consumers[name]; !c.Over(now) {
			all = append(all, c)
		}
	}
	return all
}

// arn returns the stream's ARN.
func (v *view) arn() string { return v.scope().arn(v.row.Name) }

func (c *consumer) describe(v *view, now record.Millis) Consumer {
	return Consumer{
		Name: c.Name, ARN: c.arn(v.arn()), StreamARN: v.arn(), Status: c.Status(now), Created: record.Millis(c.Created) * 1000,
	}
}

// enrolled tells what counts which consumers a stream has now, if that has changed. REQUIRES: rows held.
func (s *Streams) enrolled(e *entry, old, v *view) {
	had := map[string]*consumer{}
	if old != nil {
		had = old.consumers
	}
	same := func(_ *consumer, _ *consumer) bool { return true }
	if f := s.cfg.Events.Consumers; f != nil && !maps.EqualFunc(had, v.consumers, same) {
		f(e.scope, e.name, slices.Sorted(maps.Keys(v.consumers)))
	}
}

// changeConsumer changes a consumer's row by compare-and-set: change is given the consumer and returns what
// to put in its place, nil to take it away, as often as somebody else got there first.
func (s *Streams) changeConsumer(ctx context.Context, e *entry, c *consumer, change func(c *consumer) (*consumer, error)) error {
	for range attempts {
		v := e.view.Load()
		now := v.consumers[c.Name]
		if v.gone || now == nil || now.Created != c.Created {
			return consumerNotFound(e.scope, c.Name)
		}
		next, err := change(now)
		switch {
		case errors.Is(err, errUnchanged):
			return nil
		case err != nil:
			return err
		case next == nil:
			err = s.deleteConsumer(ctx, now)
		default:
			err = s.writeConsumer(ctx, next)
		}
		if !errors.Is(err, coordinator.ErrConflict) {
			return err
		}
		if err := s.reloadConsumer(ctx, now); err != nil {
			return err
		}
	}
	return fmt.Errorf("change consumer %s of stream %s: %w", c.Name, e.name, coordinator.ErrConflict)
}

// finishConsumers removes the rows of consumers whose deletion is due.
//
// REQUIRES: the caller holds e.driving.
func (s *Streams) finishConsumers(ctx context.Context, e *entry) error {
	now := s.now()
	for _, c := range e.view.Load().consumers {
		if !c.Over(now) {
			continue
		}
		err := s.deleteConsumer(ctx, c)
		if errors.Is(err, coordinator.ErrConflict) {
			err = s.reloadConsumer(ctx, c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeConsumer writes a consumer's row over the version it was read at and makes it known. A coordinator
// that has no room for it throttles the caller.
func (s *Streams) writeConsumer(ctx context.Context, c *consumer) error {
	version, err := s.cfg.Coordinator.Put(ctx, c.Key(), c.Encode(), c.version)
	if errors.Is(err, shardlog.ErrFull) {
		return refuse(LimitExceeded, "Rate exceeded for consumer %s.", c.Name)
	}
	if err != nil {
		return fmt.Errorf("write row %s: %w", c.Key(), err)
	}
	s.learn(change{key: c.Key(), version: version, consumer: c})
	return nil
}

func (s *Streams) deleteConsumer(ctx context.Context, c *consumer) error {
	done, err := s.deleteRow(ctx, c.Key(), c.version)
	if err == nil {
		s.learn(done)
	}
	return err
}

// reloadConsumer reads a consumer's row again, after a conflict said that it changed.
func (s *Streams) reloadConsumer(ctx context.Context, c *consumer) error {
	got, err := s.cfg.Coordinator.Get(ctx, c.Key())
	switch {
	case errors.Is(err, coordinator.ErrNotFound):
		s.learn(change{key: c.Key(), version: c.version, deleted: true})
		return nil
	case err != nil:
		return fmt.Errorf("read row %s: %w", c.Key(), err)
	}
	found, _, err := changeOf(got)
	if err == nil {
		s.learn(found)
	}
	return err
}

// sweepConsumers removes the rows of consumers whose streams are gone. A registration that another node's
// deletion of the stream overtook leaves one, if it is cut off before it can take it back.
//
// REQUIRES: a full listing was taken in. It lists consumers before streams, so a stream that it does not
// show is gone for good.
func (s *Streams) sweepConsumers(ctx context.Context) error {
	s.rows.Lock()
	var left []*consumer
	for _, orphans := range s.rows.lostConsumers {
		left = slices.AppendSeq(left, maps.Values(orphans))
	}
	s.rows.Unlock()
	for _, c := range left {
		if err := s.deleteConsumer(ctx, c); err != nil && !errors.Is(err, coordinator.ErrConflict) {
			return err
		}
	}
	return nil
}

func consumerNotFound(sc Scope, name string) *Error {
	return refuse(NotFound, "Consumer %s, account %s not found.", name, sc.Account)
}

func consumerExists(sc Scope, stream, name string) *Error {
	return refuse(InUse, "Consumer %s under stream %s under account %s already exists.", name, stream, sc.Account)
}

func consumerNotActive(sc Scope, stream string, c *consumer) *Error {
	return refuse(InUse, "Consumer %s with creation timestamp %d under stream: %s , account %s is not in ACTIVE status.",
		c.Name, c.Created, stream, sc.Account)
}

func consumerLimitExceeded(sc Scope, stream, what string, current, limit int) *Error {
	return refuse(LimitExceeded, "This request would exceed the %s limit for the stream %s under account %s. "+
		"Current %s count for the stream: %d. Limit: %d.", what, stream, sc.Account, what, current, limit)
}
