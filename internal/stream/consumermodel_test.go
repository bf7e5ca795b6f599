package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/record"
)

// TestModelOfConsumers does random things to the consumers of a stream that is written to and resharded, and
// to a list of them: what is told of each and why calls are refused, and what subscriptions are sent and why
// they end. At the end one more consumer reads everything, from shard to child shard.
func TestModelOfConsumers(t *testing.T) {
	eachSeed(t, 6, func(t *testing.T, rng *rand.Rand) {
		delay := []time.Duration{0, 700 * time.Millisecond, 7 * time.Second}[rng.IntN(3)]
		m := &consumerModel{model: newModel(t, rng, delay), delay: record.Millis(delay.Milliseconds()), consumers: map[string]*enrolled{}}
		m.large = 200 << 10
		for m.status(m.ref) != Active {
			m.tick(delay)
		}
		for range 600 {
			m.step()
		}
		m.readAll()
		t.Logf("%d calls were refused, %d subscriptions taken over, %d ended with their shard, %d with their consumer; %d records pushed",
			m.refusals, m.overtaken, m.ended, m.orphaned, m.pushed)
	})
}

// consumerModel is a stream with what it should tell of its consumers.
type consumerModel struct {
	*model
	delay     record.Millis
	consumers map[string]*enrolled // but those that are gone
	subs      []*subscriber

	refusals, overtaken, ended, orphaned, pushed int
}

// enrolled is a consumer as the model remembers it.
type enrolled struct {
	name, arn string
	// due is when it becomes ACTIVE, or is gone.
	due      record.Millis
	deleting bool
}

// subscriber is a subscription as the model remembers it.
type subscriber struct {
	sub   *Subscription
	cause func() error // why it has ended, nil while it has not
	of    *enrolled
	shard int32
	next  int // in the list of the shard's records
	began record.Millis
}

func (m *consumerModel) step() {
	m.t.Helper()
	for name, c := range m.consumers {
		if c.deleting && c.due <= m.now() {
			delete(m.consumers, name)
		}
	}
	switch n := m.rng.IntN(40); {
	case n < 6:
		m.putSome()
	case n < 9:
		m.reshard()
	case n < 14:
		m.tick(time.Duration(m.rng.Int64N(int64(3 * time.Second))))
	case n < 15 && m.rng.IntN(8) == 0:
		m.restart()
	case n < 22:
		m.register()
	case n < 24:
		m.deregister()
	case n < 26:
		m.describe()
	case n < 27:
		m.list()
	case n < 33:
		m.subscribe()
	default:
		m.pull()
	}
}

// restart ends the process and with it the subscriptions; the consumers stay.
func (m *consumerModel) restart() {
	m.world.restart()
	for _, s := range m.subs {
		s.sub.Close()
	}
	m.subs = nil
}

// reshard changes the shards, unless the stream is still being changed.
func (m *consumerModel) reshard() {
	m.t.Helper()
	if m.status(m.ref) != Active {
		return
	}
	switch m.rng.IntN(5) {
	case 0, 1:
		m.split()
	case 2, 3:
		m.merge()
	default:
		m.scale()
	}
}

func (m *consumerModel) name() string { return fmt.Sprintf("wheel-%02d", m.rng.IntN(24)) }

// statusOf returns the status of a consumer that is there.
func (m *consumerModel) statusOf(c *enrolled) Status {
	switch {
	case c.deleting:
		return Deleting
	case m.now() < c.due:
		return Creating
	}
	return Active
}

// expect compares an error with the one there should be, "" for none.
func (m *consumerModel) expect(what string, err error, want string) {
	m.t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		m.t.Fatalf("%s: error %q\nwant %q", what, got, want)
	}
	if want != "" {
		m.refusals++
	}
}

func noConsumer(name string) string {
	return fmt.Sprintf("ResourceNotFoundException: Consumer %s, account 123456789012 not found.", name)
}

func (m *consumerModel) register() {
	m.t.Helper()
	name, want, creating := m.name(), "", 0
	for _, c := range m.consumers {
		if m.statusOf(c) == Creating {
			creating++
		}
	}
	const exceeds = "LimitExceededException: This request would exceed the %[1]s limit for the stream mill under account 123456789012. " +
		"Current %[1]s count for the stream: %[2]d. Limit: %[2]d."
	switch {
	case m.consumers[name] != nil:
		want = fmt.Sprintf("ResourceInUseException: Consumer %s under stream mill under account 123456789012 already exists.", name)
	case len(m.consumers) == 20:
		want = fmt.Sprintf(exceeds, "consumer", 20)
	case creating == 5:
		want = fmt.Sprintf(exceeds, "CREATING consumer", 5)
	}
	got, err := m.RegisterConsumer(m.t.Context(), home, home.arn("mill"), name, nil)
	m.expect("register "+name, err, want)
	if err != nil {
		return
	}
	c := &enrolled{name: name, due: m.now() + m.delay, arn: fmt.Sprintf("%s/consumer/%s:%d", home.arn("mill"), name, m.now().Seconds())}
	if got != (Consumer{Name: name, ARN: c.arn, StreamARN: home.arn("mill"), Status: Creating, Created: m.now() / 1000 * 1000}) {
		m.t.Fatalf("registered as %+v", got)
	}
	m.consumers[name] = c
}

// refer names a consumer as requests do; the ARN of one that is not there was that of nobody.
func (m *consumerModel) refer() (ConsumerRef, *enrolled, string) {
	name := m.name()
	c := m.consumers[name]
	byName := ConsumerRef{StreamARN: home.arn("mill"), Name: name}
	switch {
	case m.rng.IntN(2) == 0:
		return byName, c, name
	case c == nil || m.rng.IntN(10) == 0:
		return ConsumerRef{ARN: fmt.Sprintf("%s/consumer/%s:17", home.arn("mill"), name)}, nil, name
	}
	return ConsumerRef{ARN: c.arn}, c, name
}

func (m *consumerModel) deregister() {
	m.t.Helper()
	ref, c, name := m.refer()
	err := m.DeregisterConsumer(m.t.Context(), home, ref)
	if c == nil {
		m.expect("deregister "+name, err, noConsumer(name))
		return
	}
	m.expect("deregister "+name, err, "")
	if c.deleting {
		return
	}
	c.deleting, c.due = true, m.now()+m.delay
	if m.delay == 0 {
		delete(m.consumers, name)
	}
	m.subs = slices.DeleteFunc(m.subs, func(s *subscriber) bool {
		if s.of != c {
			return false
		}
		m.over(s, noConsumer(name))
		m.orphaned++
		return true
	})
}

// over checks why a subscription has ended, and closes it.
func (m *consumerModel) over(s *subscriber, want string) {
	m.t.Helper()
	if cause := s.cause(); cause == nil || cause.Error() != want {
		m.t.Fatalf("the subscription of %s to shard %d: cause %v; want %s", s.of.name, s.shard, cause, want)
	}
	s.sub.Close()
}

// told is what is told of a consumer.
func (m *consumerModel) told(c *enrolled) string {
	return fmt.Sprint(c.name, " ", c.arn, " ", m.statusOf(c))
}

func telling(c Consumer) string { return fmt.Sprint(c.Name, " ", c.ARN, " ", c.Status) }

func (m *consumerModel) describe() {
	m.t.Helper()
	ref, c, name := m.refer()
	got, err := m.DescribeConsumer(home, ref)
	if c == nil {
		m.expect("describe "+name, err, noConsumer(name))
		return
	}
	m.expect("describe "+name, err, "")
	if telling(got) != m.told(c) {
		m.t.Fatalf("described as %+v; want %s", got, m.told(c))
	}
}

// list lists the consumers, some at a time.
func (m *consumerModel) list() {
	m.t.Helper()
	var got, want []string
	in := ListConsumersInput{StreamARN: home.arn("mill"), MaxResults: 1 + m.rng.IntN(9)}
	for {
		page, err := m.ListConsumers(home, in)
		m.must(err)
		if len(page.Consumers) > in.MaxResults || page.Token != "" && len(page.Consumers) < in.MaxResults {
			m.t.Fatalf("a page of %d consumers; want %d", len(page.Consumers), in.MaxResults)
		}
		for _, c := range page.Consumers {
			got = append(got, telling(c))
		}
		if in.Token = page.Token; in.Token == "" {
			break
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.consumers)) {
		want = append(want, m.told(m.consumers[name]))
	}
	if !slices.Equal(got, want) {
		m.t.Fatalf("consumers %v\nwant %v", got, want)
	}
	s, err := m.DescribeStreamSummary(home, m.ref)
	m.must(err)
	if s.Consumers != len(m.consumers) {
		m.t.Fatalf("%d consumers; want %d", s.Consumers, len(m.consumers))
	}
}

// shards lists all shards.
func (m *consumerModel) shards() []Shard {
	m.t.Helper()
	page, err := m.ListShards(home, ListShardsInput{Ref: m.ref})
	m.must(err)
	return page.Shards
}

// position picks where in a shard to start, and returns the first of its records to come.
func (m *consumerModel) position(sh Shard) (in IteratorInput, next int) {
	list := m.records[sh.Number]
	in = IteratorInput{ShardID: sh.ID, Type: TrimHorizon}
	n := 0
	if len(list) > 0 {
		n = m.rng.IntN(len(list))
	}
	switch k := m.rng.IntN(6); {
	case k == 0:
		in.Type, next = Latest, len(list)
	case k == 1 && len(list) > 0:
		in.Type, in.Sequence, next = AtSequenceNumber, list[n].seq.String(), n
	case k == 2 && len(list) > 0:
		in.Type, in.Sequence, next = AfterSequenceNumber, list[n].seq.String(), n+1
	case k == 3 && len(list) > 0:
		in.Type, in.Timestamp, in.HasTimestamp = FromTime, list[n].at, true
		next = slices.IndexFunc(list, func(s stored) bool { return s.at >= list[n].at })
	}
	return in, next
}

func (m *consumerModel) subscribe() {
	m.t.Helper()
	shards := m.shards()
	sh := shards[m.rng.IntN(len(shards))]
	if m.rng.IntN(3) > 0 { // few shards and consumers, so that they meet
		sh = shards[len(shards)-1]
	}
	if m.rng.IntN(30) == 0 {
		sh = Shard{Number: 9999, ID: ShardID(9999)}
	}
	ref, c, name := m.refer()
	if len(m.subs) > 0 && m.rng.IntN(2) == 0 {
		s := m.subs[m.rng.IntN(len(m.subs))]
		c, name = s.of, s.of.name
		sh = shards[slices.IndexFunc(shards, func(sh Shard) bool { return sh.Number == s.shard })]
	} else if ref.ARN == "" && c == nil {
		return
	}
	if c != nil {
		ref.ARN = c.arn
	}
	in, next := m.position(sh)
	for _, s := range m.subs { // to the millisecond
		if s.of == c && s.shard == sh.Number && m.rng.IntN(2) == 0 {
			m.clock.Advance(time.Duration(max(0, s.began+record.Millis(4999+m.rng.IntN(2))-m.now())) * time.Millisecond)
		}
	}
	older := slices.IndexFunc(m.subs, func(s *subscriber) bool { return s.of == c && s.shard == sh.Number })
	want := ""
	switch {
	case c == nil:
		want = noConsumer(name)
	case m.statusOf(c) != Active:
		want = fmt.Sprintf("ResourceInUseException: Consumer %s with creation timestamp %s under stream: mill , account 123456789012 is not in ACTIVE status.",
			name, c.arn[strings.LastIndex(c.arn, ":")+1:])
	case sh.Number == 9999:
		want = "ResourceNotFoundException: Shard shardId-000000009999 in stream mill under account 123456789012 does not exist"
	case older >= 0 && m.now()-m.subs[older].began < 5000:
		want = "ResourceInUseException: Another active subscription exists for this consumer."
	}
	what := fmt.Sprintf("subscribe %s to %s at %+v", name, sh.ID, in)
	sub, ctx, err := m.Subscribe(m.t.Context(), home, SubscribeInput{ConsumerARN: ref.ARN, Position: in})
	m.expect(what, err, want)
	if err != nil {
		return
	}
	if older >= 0 {
		m.over(m.subs[older], "ResourceInUseException: Another active subscription exists for this consumer.")
		m.subs = slices.Delete(m.subs, older, older+1)
		m.overtaken++
	}
	m.subs = append(m.subs, &subscriber{sub: sub, cause: func() error { return context.Cause(ctx) }, of: c, shard: sh.Number, next: next, began: m.now()})
}

// pull reads what a subscription is sent now.
func (m *consumerModel) pull() {
	m.t.Helper()
	if len(m.subs) == 0 {
		return
	}
	i := m.rng.IntN(len(m.subs))
	if m.drain(m.subs[i]) {
		m.subs[i].sub.Close()
		m.subs = slices.Delete(m.subs, i, i+1)
		m.ended++
	}
}

// behind returns how far behind a place in a shard is.
func (m *consumerModel) behind(shard int32, next int) int64 {
	list := m.records[shard]
	if next >= len(list) {
		return 0
	}
	return max(1, int64(m.now()-list[next].at))
}

// drain reads a subscription up to the tip, and reports whether the shard ended there.
func (m *consumerModel) drain(s *subscriber) (ended bool) {
	m.t.Helper()
	if cause := s.cause(); cause != nil {
		m.t.Fatalf("the subscription of %s to shard %d has ended: %v", s.of.name, s.shard, cause)
	}
	shards := m.shards()
	closed := shards[slices.IndexFunc(shards, func(sh Shard) bool { return sh.Number == s.shard })].Closed
	list := m.records[s.shard]
	if s.next >= len(list) && !closed {
		m.quiet(s)
		return false
	}
	for {
		ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Second)
		err := s.sub.Wait(ctx)
		cancel()
		m.must(err)
		if got, err := s.sub.MillisBehind(m.t.Context()); err != nil || got != m.behind(s.shard, s.next) {
			m.t.Fatalf("%d ms behind, error %v; want %d", got, err, m.behind(s.shard, s.next))
		}
		b, err := s.sub.Read(m.t.Context())
		m.must(err)
		size := 0
		for i, rec := range b.Page.Records {
			if s.next == len(list) || string(rec.Data) != list[s.next].data || b.Sequence(i) != list[s.next].seq {
				m.t.Fatalf("shard %d: record %d is %.20q", s.shard, s.next, rec.Data)
			}
			s.next++
			size += rec.Size()
		}
		if n := len(b.Page.Records); n > 1 && size > 256<<10 {
			m.t.Fatalf("an event of %d records with %d bytes", n, size)
		}
		m.pushed += len(b.Page.Records)
		ended = s.next == len(list) && closed
		if b.MillisBehind != m.behind(s.shard, s.next) || b.Reached().Ended != ended {
			m.t.Fatalf("shard %d, %d of %d records read: %d ms behind, ended %v", s.shard, s.next, len(list), b.MillisBehind, b.Reached().Ended)
		}
		if n := len(b.Page.Records); n > 0 && b.Continuation != list[s.next-1].seq {
			m.t.Fatalf("to go on after %+v; want %+v", b.Continuation, list[s.next-1].seq)
		}
		m.checkChildren(s.shard, ended, shards, b.Children)
		s.sub.Advance(b.Reached())
		b.Release()
		if s.next == len(list) {
			return ended
		}
	}
}

// checkChildren compares the children that a subscription is told with those that are listed.
func (m *consumerModel) checkChildren(parent int32, ended bool, shards []Shard, got []ChildShard) {
	m.t.Helper()
	var want []string
	for _, sh := range shards {
		if ended && (sh.ParentID == ShardID(parent) || sh.AdjacentParentID == ShardID(parent)) {
			parents := slices.DeleteFunc([]string{sh.ParentID, sh.AdjacentParentID}, func(id string) bool { return id == "" })
			want = append(want, fmt.Sprint(ChildShard{sh.ID, parents, sh.HashKeyRange}))
		}
	}
	var told []string
	for _, c := range got {
		told = append(told, fmt.Sprint(c))
	}
	if !slices.Equal(told, want) {
		m.t.Fatalf("children of shard %d: %v; want %v", parent, told, want)
	}
}

// quiet checks that a subscription that has everything gets nothing.
func (m *consumerModel) quiet(s *subscriber) {
	m.t.Helper()
	done, cancel := context.WithCancel(m.t.Context())
	cancel()
	if err := s.sub.Wait(done); !errors.Is(err, context.Canceled) {
		m.t.Fatalf("waiting for nothing: %v", err)
	}
	b, err := s.sub.Read(m.t.Context())
	m.must(err)
	defer b.Release()
	if len(b.Page.Records) != 0 || len(b.Children) != 0 || b.MillisBehind != 0 || b.Reached() != s.sub.Reached() {
		m.t.Fatalf("%d records, children %v, %d ms behind; want nothing", len(b.Page.Records), b.Children, b.MillisBehind)
	}
}

// readAll has a new consumer read every shard from its beginning, parents before children: it must be sent
// every record once, and come by every shard.
func (m *consumerModel) readAll() {
	m.t.Helper()
	for m.status(m.ref) != Active {
		m.tick(time.Second)
	}
	for _, name := range slices.Sorted(maps.Keys(m.consumers)) {
		_ = m.DeregisterConsumer(m.t.Context(), home, ConsumerRef{ARN: m.consumers[name].arn})
	}
	m.tick(time.Duration(m.delay) * time.Millisecond)
	c, err := m.RegisterConsumer(m.t.Context(), home, home.arn("mill"), "reader", nil)
	m.must(err)
	m.tick(time.Duration(m.delay) * time.Millisecond)
	of := &enrolled{name: "reader", arn: c.ARN}
	shards, read := m.shards(), map[string]bool{}
	for _, sh := range slices.SortedFunc(slices.Values(shards), func(a, b Shard) int { return cmp.Compare(a.Number, b.Number) }) {
		for _, parent := range []string{sh.ParentID, sh.AdjacentParentID} {
			if parent != "" && !read[parent] {
				m.t.Fatalf("%s comes before its parent %s", sh.ID, parent)
			}
		}
		sub, ctx, err := m.Subscribe(m.t.Context(), home, SubscribeInput{ConsumerARN: c.ARN, Position: IteratorInput{ShardID: sh.ID, Type: TrimHorizon}})
		m.must(err)
		s := &subscriber{sub: sub, cause: func() error { return context.Cause(ctx) }, of: of, shard: sh.Number}
		if ended := m.drain(s); ended != sh.Closed || s.next != len(m.records[sh.Number]) {
			m.t.Fatalf("%s: %d of %d records, ended %v", sh.ID, s.next, len(m.records[sh.Number]), ended)
		}
		sub.Close()
		read[sh.ID] = true
	}
}
