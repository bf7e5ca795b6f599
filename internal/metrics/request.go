package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// CodeOK is the code of a request that was answered without an error.
const CodeOK = "OK"

// OperationUnknown is the operation label of requests that name none of the service's operations.
// What a stranger wrote in a header must never become a label.
const OperationUnknown = "unknown"

// Operation counts the requests for one operation of one service. Its method is safe for concurrent
// use and does not allocate once a code has been seen.
type Operation struct {
	service, name string
	vecs          requestVecs
	ok            prometheus.Counter
	latency       prometheus.Observer
}

type requestVecs struct {
	total   *prometheus.CounterVec
	latency *prometheus.HistogramVec
}

func newRequestVecs() requestVecs {
	return requestVecs{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "headrace_requests_total",
			Help: "Requests answered, by the error code of the answer; OK without one.",
		}, []string{"service", "operation", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "headrace_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer.",
			Buckets: latencyBuckets(),
		}, []string{"service", "operation"}),
	}
}

func (v requestVecs) collectors() []prometheus.Collector {
	return []prometheus.Collector{v.total, v.latency}
}

// Operation returns the counters of an operation, which the caller keeps. The name is a modelled
// one or OperationUnknown.
func (m *Metrics) Operation(service, name string) *Operation {
	return &Operation{
		service: service,
		name:    name,
		vecs:    m.requests,
		ok:      m.requests.total.WithLabelValues(service, name, CodeOK),
		latency: m.requests.latency.WithLabelValues(service, name),
	}
}

// Done counts one answered request. The code is CodeOK, "" for the same, or the name of an error
// that Headrace itself chose.
func (o *Operation) Done(code string, d time.Duration) {
	o.latency.Observe(d.Seconds())
	if code == "" || code == CodeOK {
		o.ok.Inc()
		return
	}
	o.vecs.total.WithLabelValues(o.service, o.name, code).Inc()
}
