package stream

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/headrace/headrace/internal/stream/row"
)

// consumers describes the consumers of a stream.
func (w *world) consumers(ref Ref) string {
	w.t.Helper()
	page, err := w.ListConsumers(home, ListConsumersInput{StreamARN: home.arn(ref.Name)})
	var e *Error
	if errors.As(err, &e) && e.Kind == NotFound {
		return "no stream"
	}
	w.must(err)
	var out []string
	for _, c := range page.Consumers {
		out = append(out, fmt.Sprint(c.Name, " ", c.Status))
	}
	return strings.Join(out, ", ")
}

// TestConsumersSurvive cuts the power after every write of what consumers go through, and checks that what
// was accepted is there after a restart, and what was refused is not.
func TestConsumersSurvive(t *testing.T) {
	ref := Ref{Name: "mill"}
	wheel := ConsumerRef{StreamARN: home.arn("mill"), Name: "wheel"}
	f := func(name, before, after string, do func(w *world) error) {
		t.Helper()
		start := func() *world {
			w := newWorld(t, 0, Caps{})
			w.create(ref.Name, 1)
			_, err := w.RegisterConsumer(t.Context(), home, wheel.StreamARN, "pond", map[string]string{"a": "b"})
			w.must(err)
			if strings.Contains(before, "wheel") {
				_, err := w.RegisterConsumer(t.Context(), home, wheel.StreamARN, "wheel", nil)
				w.must(err)
			}
			return w
		}
		w := start()
		if got := w.consumers(ref); got != before {
			t.Fatalf("%s: before it: %s; want %s", name, got, before)
		}
		used := w.fuse.used
		w.must(do(w))
		steps := w.fuse.used - used
		if got := w.consumers(ref); got != after {
			t.Errorf("%s: after it: %s; want %s", name, got, after)
		}
		for cut := range steps {
			w := start()
			w.fuse.left = cut
			err := do(w)
			w.fuse.left = -1
			w.restart()
			w.tick(2 * time.Second)
			want := after
			if err != nil {
				want = before
			}
			if got := w.consumers(ref); got != want {
				t.Errorf("%s: cut after %d of %d writes, error %v: %s; want %s", name, cut, steps, err, got, want)
			}
		}
	}
	f("register", "pond ACTIVE", "pond ACTIVE, wheel ACTIVE", func(w *world) error {
		_, err := w.RegisterConsumer(t.Context(), home, wheel.StreamARN, "wheel", nil)
		return err
	})
	f("deregister", "pond ACTIVE, wheel ACTIVE", "pond ACTIVE", func(w *world) error {
		return w.DeregisterConsumer(t.Context(), home, wheel)
	})
	f("delete the stream", "pond ACTIVE, wheel ACTIVE", "no stream", func(w *world) error {
		return w.DeleteStream(t.Context(), home, ref, true)
	})
}

// TestConsumerRows checks what is kept of a consumer across a restart.
func TestConsumerRows(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, time.Minute, Caps{})
	w.create("mill", 1)
	w.tick(time.Minute)
	c, err := w.RegisterConsumer(ctx, home, home.arn("mill"), "wheel", map[string]string{"team": "water"})
	w.must(err)
	if c.Status != Creating {
		t.Errorf("registered: %s", c.Status)
	}
	refused(t, w.PutPolicy(ctx, home, c.ARN, "{}"), InUse,
		"Consumer wheel with creation timestamp 1421889782 under stream: mill , account 123456789012 is not in ACTIVE status.")
	w.tick(time.Minute)
	w.must(w.PutPolicy(ctx, home, c.ARN, `{"Id":"p"}`))
	w.restart()
	if got, _ := w.Governed(c.ARN); got != `{"Id":"p"}` {
		t.Errorf("policy: %s", got)
	}
	if _, got := w.Governed(c.ARN); len(got) != 1 || got["team"] != "water" {
		t.Errorf("tags: %v", got)
	}
	if got, _ := w.Governed(home.arn("mill")); got != "" {
		t.Errorf("the stream's policy: %s", got)
	}
	w.must(w.DeregisterConsumer(ctx, home, ConsumerRef{ARN: c.ARN}))
	if got := w.consumers(Ref{Name: "mill"}); got != "wheel DELETING" {
		t.Errorf("deregistered: %s", got)
	}
	w.restart()
	w.tick(time.Minute)
	if got := w.consumers(Ref{Name: "mill"}); got != "" {
		t.Errorf("a minute later: %s", got)
	}
	if page, err := w.cfg.Coordinator.List(ctx, row.ConsumerPrefix, "", 10); err != nil || len(page) != 0 {
		t.Errorf("rows are left: %v, error %v", page, err)
	}
}

// TestConsumerAgain registers a consumer whose predecessor is gone but for its row, which nobody has removed.
func TestConsumerAgain(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, time.Minute, Caps{})
	w.create("mill", 1)
	w.tick(time.Minute)
	first, err := w.RegisterConsumer(ctx, home, home.arn("mill"), "wheel", map[string]string{"a": "b"})
	w.must(err)
	w.must(w.DeregisterConsumer(ctx, home, ConsumerRef{ARN: first.ARN}))
	w.clock.Advance(time.Minute)
	second, err := w.RegisterConsumer(ctx, home, home.arn("mill"), "wheel", nil)
	w.must(err)
	w.tick(time.Minute)
	_, tags := w.Governed(second.ARN)
	if got := w.consumers(Ref{Name: "mill"}); got != "wheel ACTIVE" || second.ARN == first.ARN || len(tags) != 0 {
		t.Errorf("%s, %s after %s, tags %v", got, second.ARN, first.ARN, tags)
	}
}

// TestSubscriptionOfNobody has the consumer go in the moment in which its subscription begins.
func TestSubscriptionOfNobody(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, 0, Caps{})
	w.create("mill", 1)
	c, err := w.RegisterConsumer(ctx, home, home.arn("mill"), "wheel", nil)
	w.must(err)
	sub, _, err := w.Subscribe(ctx, home, SubscribeInput{ConsumerARN: c.ARN, Position: IteratorInput{ShardID: "0", Type: Latest}})
	w.must(err)
	defer sub.Close()
	w.subscriptions.Remove(sub.key, &sub.holder) // so nobody tells it
	w.must(w.DeregisterConsumer(ctx, home, ConsumerRef{ARN: c.ARN}))
	refused(t, sub.Wait(ctx), NotFound, "Consumer wheel, account 123456789012 not found.")
}

// TestConsumersWithoutStream sweeps a row whose stream was deleted while it was being written.
func TestConsumersWithoutStream(t *testing.T) {
	w := newWorld(t, 0, Caps{})
	w.must(w.writeConsumer(t.Context(), &consumer{Consumer: row.Consumer{Stream: 7, Name: "wheel"}}))
	w.restart()
	w.must(w.sweepConsumers(t.Context()))
	if page, err := w.cfg.Coordinator.List(t.Context(), row.ConsumerPrefix, "", 10); err != nil || len(page) != 0 {
		t.Errorf("rows are left: %v, error %v", page, err)
	}
	if n := len(w.rows.lostConsumers); n != 0 {
		t.Errorf("%d streams are remembered", n)
	}
}

func TestParseConsumerARN(t *testing.T) {
	f := func(arn string, want string) {
		t.Helper()
		p, ok := parseConsumerARN(arn)
		got := ""
		if ok {
			got = fmt.Sprintf("%s %s %s %s %s", p.scope.Account, p.scope.Region, p.stream, p.name, p.created)
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", arn, got, want)
		}
	}
	f("arn:aws:kinesis:eu-west-1:123456789012:stream/mill/consumer/wheel:17", "123456789012 eu-west-1 mill wheel 17")
	f("arn:aws:kinesis:eu-west-1:123456789012:stream/mill/consumer/wheel", "")
	f("arn:aws:kinesis:eu-west-1:123456789012:stream/mill", "")
	f("arn:aws:kinesis:eu-west-1:123456789012:stream/mill/consumer/", "")
	f("arn:aws:kinesis:eu-west-1:123456789012:stream/mill/consumer/a/consumer/b:1", "")
	f("arn:aws:sqs:eu-west-1:123456789012:stream/mill/consumer/wheel:17", "")
	f("", "")
}
