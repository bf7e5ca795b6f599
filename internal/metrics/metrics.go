// Package metrics counts what Headrace does, with the meanings CloudWatch gives the same numbers and
// the names Prometheus users expect. Each help text names the CloudWatch metric it stands for.
//
// Callers hold a *Stream or an *Operation and call its typed methods; no call allocates and no
// caller sees a label. It is not a registry of arbitrary metrics and has no global state: everything
// lives in the registry given to New.
//
//	m, err := metrics.New(registry, metrics.Build{Version: "1.0.0"})
//	s := m.AddStream(metrics.StreamID{Account: a, Region: r, Name: n})   // when it is created
//	s.PutRecords(metrics.Put{Records: 500, Successful: 500, Bytes: 512000, Latency: d})
//	m.RemoveStream(id)                                                    // its series go away
//
// What streams take of the disk is asked for at each scrape: NewStorage.
//
// Labels are bounded: account, region and stream live as long as the stream, and streams are capped;
// operations and codes are the modelled ones. A stream may have thousands of shards, so that they are
// labels only where shard-level metrics were turned on: MonitorShards. Consumers, of which a stream has a few,
// are labels while they are registered: SetConsumers.
package metrics

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Build says what program is running, for headrace_build_info.
type Build struct{ Version, Commit, GoVersion string }

// StreamID names one data stream.
type StreamID struct{ Account, Region, Name string }

// Metrics owns every series of one process. Its methods are safe for concurrent use.
type Metrics struct {
	vecs        streamVecs
	subscribers consumerVecs
	requests    requestVecs
	port        *Port
	// transitions counts those that stopped half-way.
	transitions prometheus.Counter
	discard     *Stream

	mu struct {
		sync.RWMutex
		streams map[StreamID]*Stream
	}
}

// NewRegistry returns an empty registry, for callers that need not know Prometheus otherwise.
func NewRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

// New registers every metric, and those of the Go runtime and the process, in reg. It fails when
// one of them is registered there already.
func New(reg prometheus.Registerer, build Build) (*Metrics, error) {
	m := &Metrics{vecs: newStreamVecs(), subscribers: newConsumerVecs(), requests: newRequestVecs(), port: newPort(), transitions: newTransitions()}
	m.mu.streams = map[StreamID]*Stream{}
	m.discard = newStreamVecs().resolve(StreamID{}) // of no registry
	m.discard.nobody = newConsumerVecs().resolve(StreamID{}, "")
	all := append(m.vecs.collectors(), m.requests.collectors()...)
	for _, v := range m.subscribers.all() {
		all = append(all, v)
	}
	all = append(all, m.port.collectors()...)
	all = append(all, newShardCollector(m), m.transitions, buildInfo(build), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// AddStream starts the series of a stream that was created and returns them; it returns the same
// ones again if they exist.
func (m *Metrics) AddStream(id StreamID) *Stream {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.mu.streams[id]
	if s == nil {
		s = m.vecs.resolve(id)
		s.nobody = m.discard.nobody
		m.mu.streams[id] = s
	}
	return s
}

// Stream returns the series of a stream, never nil: what is counted for a stream that was not added,
// or was removed meanwhile, goes nowhere. So a request for a name that does not exist makes no
// series, and one that outlives its stream brings none back.
func (m *Metrics) Stream(id StreamID) *Stream {
	m.mu.RLock()
	s := m.mu.streams[id]
	m.mu.RUnlock()
	if s == nil {
		return m.discard
	}
	return s
}

// RemoveStream ends the series of a stream that was deleted. A *Stream that a caller still holds
// goes on counting where nobody looks.
func (m *Metrics) RemoveStream(id StreamID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, ok := m.mu.streams[id]; ok {
		delete(m.mu.streams, id)
		m.vecs.remove(id)
		for name := range s.known() {
			m.subscribers.remove(id, name)
		}
	}
}

func newTransitions() prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{
		Name: "headrace_transitions_failed_total",
		Help: "Times that the creation, deletion or change of a stream stopped half-way; each is tried again a second later.",
	})
}

// TransitionFailed counts a stream's change that stopped half-way.
func (m *Metrics) TransitionFailed() { m.transitions.Inc() }

func buildInfo(b Build) prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "headrace_build_info",
		Help:        "Always 1; the labels say what is running.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go_version": b.GoVersion},
	})
	g.Set(1)
	return g
}

// latencyBuckets go from a put into memory to a request that waited out most client timeouts.
func latencyBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30}
}

// ageBuckets go from a reader that keeps up to one that is about to lose records to retention.
func ageBuckets() []float64 {
	day := (24 * time.Hour).Seconds()
	return []float64{.01, .1, .5, 1, 5, 15, 60, 300, 1800, 7200, 43200, day, 7 * day, 365 * day}
}
