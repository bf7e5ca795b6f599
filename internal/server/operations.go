package server

import (
	"sync"

	"github.com/headrace/headrace/internal/metrics"
)

// operations finds the counters of an operation without building label sets for every request. It
// grows to the modelled operations and no further, because events name no others.
type operations struct {
	meters *metrics.Metrics
	known  sync.Map // of operationKey to *metrics.Operation
}

type operationKey struct{ service, name string }

func newOperations(meters *metrics.Metrics) *operations { return &operations{meters: meters} }

// of returns the counters; requests that name no operation share one set.
func (o *operations) of(service, name string) *metrics.Operation {
	key := operationKey{service, name}
	if found, ok := o.known.Load(key); ok {
		return found.(*metrics.Operation)
	}
	if name == "" {
		name = metrics.OperationUnknown
	}
	made, _ := o.known.LoadOrStore(key, o.meters.Operation(service, name))
	return made.(*metrics.Operation)
}
