package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Consumer counts for one registered consumer of a stream. Its methods are safe for concurrent use and do not
// allocate.
type Consumer struct {
	success, rateExceeded                prometheus.Counter
	eventSuccess, eventBytes, eventCount prometheus.Counter
	behind                               prometheus.Observer
}

// Subscribed counts one SubscribeToShard call that began a subscription.
func (c *Consumer) Subscribed() { c.success.Inc() }

// RateExceeded counts one SubscribeToShard call that was refused because the consumer has a subscription to
// the shard, or has called too often.
func (c *Consumer) RateExceeded() { c.rateExceeded.Inc() }

// Event is one event that a subscription was sent.
type Event struct {
	// Records and Bytes are what it carried, none in a sign of life.
	Records, Bytes int
	// Behind is how long ago the first record arrived that was not sent yet, 0 if there is none.
	Behind time.Duration
}

// Pushed counts one event that was sent.
func (c *Consumer) Pushed(e Event) {
	c.eventSuccess.Inc()
	c.eventBytes.Add(float64(e.Bytes))
	c.eventCount.Add(float64(e.Records))
	c.behind.Observe(e.Behind.Seconds())
}

// consumerVecs are the series of all consumers.
type consumerVecs struct {
	success, rateExceeded                *prometheus.CounterVec
	eventSuccess, eventBytes, eventCount *prometheus.CounterVec
	behind                               *prometheus.HistogramVec
}

func newConsumerVecs() consumerVecs {
	labels := append(streamLabels(), "consumer")
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + "subscribe_to_shard_" + name, Help: "CloudWatch " + help}, labels)
	}
	return consumerVecs{
		success: counter("success_total", "SubscribeToShard.Success: subscriptions that the consumer began."),
		rateExceeded: counter("rate_exceeded_total", "SubscribeToShard.RateExceeded: subscriptions refused because the consumer "+
			"has one to the shard, or has called too often."),
		eventSuccess: counter("event_success_total", "SubscribeToShardEvent.Success: events sent to the consumer, signs of life among them."),
		eventBytes:   counter("event_bytes_total", "SubscribeToShardEvent.Bytes: bytes of data sent to the consumer."),
		eventCount:   counter("event_records_total", "SubscribeToShardEvent.Records: records sent to the consumer."),
		behind: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "subscribe_to_shard_event_behind_latest_seconds",
			Help: "CloudWatch SubscribeToShardEvent.MillisBehindLatest, in seconds: how far behind the tip of its shard each event " +
				"left the consumer, 0 when caught up.",
			Buckets: ageBuckets(),
		}, labels),
	}
}

func (v consumerVecs) all() []vec {
	return []vec{v.success, v.rateExceeded, v.eventSuccess, v.eventBytes, v.eventCount, v.behind}
}

func (v consumerVecs) resolve(id StreamID, name string) *Consumer {
	l := append(id.values(), name)
	return &Consumer{
		success:      v.success.WithLabelValues(l...),
		rateExceeded: v.rateExceeded.WithLabelValues(l...),
		eventSuccess: v.eventSuccess.WithLabelValues(l...),
		eventBytes:   v.eventBytes.WithLabelValues(l...),
		eventCount:   v.eventCount.WithLabelValues(l...),
		behind:       v.behind.WithLabelValues(l...),
	}
}

func (v consumerVecs) remove(id StreamID, name string) {
	for _, c := range v.all() {
		c.DeleteLabelValues(append(id.values(), name)...)
	}
}

// consumers are those of a stream by name. They are never changed, only replaced.
type consumers map[string]*Consumer

// SetConsumers says which consumers a stream has: those it had go on, new ones begin at nothing, and the
// series of the others end. For a stream that was not added it does nothing.
func (m *Metrics) SetConsumers(id StreamID, names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.mu.streams[id]
	if s == nil {
		return
	}
	old, next := s.known(), make(consumers, len(names))
	for _, name := range names {
		if next[name] = old[name]; next[name] == nil {
			next[name] = m.subscribers.resolve(id, name)
		}
	}
	for name := range old {
		if next[name] == nil {
			m.subscribers.remove(id, name)
		}
	}
	s.consumers.Store(&next)
}

// known returns the consumers that are counted.
func (s *Stream) known() consumers {
	if c := s.consumers.Load(); c != nil {
		return *c
	}
	return nil
}

// Consumer returns the series of a consumer, never nil: what is counted for one that is not registered goes
// nowhere.
func (s *Stream) Consumer(name string) *Consumer {
	if c := s.known()[name]; c != nil {
		return c
	}
	return s.nobody
}
