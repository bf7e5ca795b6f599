package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Port counts what happens before a request has an operation, and what is written down about calls.
// Its methods are safe for concurrent use.
type Port struct {
	open             prometheus.GaugeFunc
	count            atomic.Pointer[func() int]
	refused          *prometheus.CounterVec
	throttled        *prometheus.CounterVec
	written, dropped prometheus.Counter
}

func newPort() *Port {
	p := &Port{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headrace_connections_refused_total",
			Help: "Connections closed before a request was read: too many of one address, none or a failed TLS handshake, silent.",
		}, []string{"reason"}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headrace_requests_throttled_total",
			Help: "Requests answered with ThrottlingException because of the rate of their address or access key.",
		}, []string{"by"}),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headrace_audit_events_total",
			Help: "Events written to the audit log.",
		}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "headrace_audit_dropped_total",
			Help: "Events that the audit log could not take: its queue was full, or the disk did not take them.",
		}),
	}
	p.open = prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "headrace_connections_open",
		Help: "Open connections.",
	}, func() float64 {
		if count := p.count.Load(); count != nil {
			return float64((*count)())
		}
		return 0
	})
	return p
}

func (p *Port) collectors() []prometheus.Collector {
	return []prometheus.Collector{p.open, p.refused, p.throttled, p.written, p.dropped}
}

// Port returns the counters of the port.
func (m *Metrics) Port() *Port { return m.port }

// CountOpen has count asked for the number of open connections from now on.
func (p *Port) CountOpen(count func() int) { p.count.Store(&count) }

// Refused counts a connection that was closed before a request was read. The reasons are few and ours.
func (p *Port) Refused(reason string) { p.refused.WithLabelValues(reason).Inc() }

// What a request's rate was too high of.
const (
	ByAddress = "address"
	ByKey     = "key"
)

// Throttled counts a request that came too soon after others of the same address or key.
func (p *Port) Throttled(by string) { p.throttled.WithLabelValues(by).Inc() }

// AuditWritten counts events that the audit log has.
func (p *Port) AuditWritten(n int) { p.written.Add(float64(n)) }

// AuditDropped counts events that the audit log did not take.
func (p *Port) AuditDropped(n int) { p.dropped.Add(float64(n)) }
