package wire

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/headrace/headrace/internal/auth/sigv4"
	"github.com/headrace/headrace/internal/wire/shape"
)

// service is a Service prepared for dispatch.
type service struct {
	name       string
	signatures sigv4.Rules
	namespace  string // Query
	formats    Formats
	operations map[string]*operation
}

// operation is a known operation and the structures it has to spare.
type operation struct {
	spec            shape.Operation
	built           bool
	inputs, outputs sync.Pool // of shape.Shape
	// response and result are the names of the elements that hold a Query's answer.
	response, result string
	// lastSize is the size of the last response: the best guess at the next one's.
	lastSize atomic.Int64
}

func (o *operation) input() shape.Shape {
	if in, ok := o.inputs.Get().(shape.Shape); ok {
		return in
	}
	return o.spec.NewInput()
}

// output returns nil for an operation without output.
func (o *operation) output() shape.Shape {
	if o.spec.NewOutput == nil {
		return nil
	}
	if out, ok := o.outputs.Get().(shape.Shape); ok {
		return out
	}
	return o.spec.NewOutput()
}

// recycle keeps the structures of a finished call for the next one. out may be nil.
func (o *operation) recycle(in, out shape.Shape) {
	in.Reset()
	o.inputs.Put(in)
	if out != nil {
		out.Reset()
		o.outputs.Put(out)
	}
}

// routes finds services by target prefix, and those that speak Query by the version of their API. It
// is never written after newRoutes.
type routes struct {
	services map[string]*service
	versions map[string]*service
	formats  Formats // of all services: what a request for none of them may be in
}

// newRoutes panics when two services share a prefix or a version, or an operation is there twice, as
// http.ServeMux does: the caller's tables are wrong.
func newRoutes(services []Service) routes {
	rs := routes{services: make(map[string]*service), versions: make(map[string]*service)}
	for _, s := range services {
		if s.Formats == 0 {
			s.Formats = AWSJSON11
		}
		rs.formats |= s.Formats
		sv := newService(s)
		if s.Formats&Query != 0 {
			rs.add(rs.versions, s.Version, sv)
		}
		if s.Formats != Query {
			rs.add(rs.services, s.TargetPrefix, sv)
		}
	}
	if rs.formats&^Query == 0 {
		rs.formats |= AWSJSON11
	}
	return rs
}

// add lists a service under what requests name it by.
func (rs *routes) add(list map[string]*service, name string, sv *service) {
	if list[name] != nil {
		panic("wire: two services are called " + name)
	}
	list[name] = sv
}

func newService(s Service) *service {
	sv := &service{
		name: s.SigningName, signatures: s.Signatures, namespace: s.Namespace, formats: s.Formats &^ Query,
		operations: make(map[string]*operation),
	}
	sv.signatures.Service = s.SigningName
	for _, name := range s.Known {
		sv.operations[name] = &operation{spec: shape.Operation{Name: name}}
	}
	for _, spec := range s.Operations {
		if o := sv.operations[spec.Name]; o != nil && o.built {
			panic("wire: operation " + spec.Name + " is there twice")
		}
		sv.operations[spec.Name] = &operation{
			spec: spec, built: spec.Handle != nil,
			response: spec.Name + "Response", result: spec.Name + "Result",
		}
	}
	return sv
}

// route is where a request's headers lead.
type route struct {
	service   *service   // nil: no such service
	operation *operation // nil: no such operation
	named     bool       // the target has the form prefix.operation
	content   Formats    // the request's content type; 0: none that the service accepts
	fallback  Formats    // what to answer an empty body in
}

// signatures returns the rules for the request's signature. Nothing holds for one to no service: it is
// read to know who asks for what is not there.
func (rt *route) signatures() sigv4.Rules {
	if rt.service == nil {
		return sigv4.Rules{}
	}
	return rt.service.signatures
}

// built reports whether the route ends at an operation that can be called.
func (rt *route) built() bool { return rt.operation != nil && rt.operation.built }

// find never fails: what is unknown stays empty in the route.
func (rs *routes) find(h http.Header) route {
	var rt route
	prefix, name, _ := strings.Cut(h.Get("X-Amz-Target"), ".")
	rt.named = prefix != "" && name != ""
	accepted := rs.formats &^ Query
	if rt.service = rs.services[prefix]; rt.service != nil {
		accepted = rt.service.formats
		rt.operation = rt.service.operations[name]
	}
	rt.content = contentType(h.Get("Content-Type")) & (accepted | plainJSON)
	switch {
	case rt.content != 0 && rt.content != plainJSON:
		rt.fallback = rt.content
	case accepted&CBOR11 != 0:
		rt.fallback = CBOR11
	default:
		rt.fallback = accepted & -accepted
	}
	return rt
}

const (
	typeJSON11    = "application/x-amz-json-1.1"
	typeJSON10    = "application/x-amz-json-1.0"
	typeCBOR11    = "application/x-amz-cbor-1.1"
	typePlainJSON = "application/json"
	typeForm      = "application/x-www-form-urlencoded"
	typeXML       = "text/xml"
)

// contentType recognises a Content-Type header, whatever its parameters; 0 means unknown.
func contentType(header string) Formats {
	name, _, _ := strings.Cut(header, ";")
	name = strings.TrimSpace(name)
	switch {
	case strings.EqualFold(name, typeJSON11):
		return AWSJSON11
	case strings.EqualFold(name, typeJSON10):
		return AWSJSON10
	case strings.EqualFold(name, typeCBOR11):
		return CBOR11
	case strings.EqualFold(name, typePlainJSON):
		return plainJSON
	case strings.EqualFold(name, typeForm):
		return Query
	}
	return 0
}

// ContentTypes returns the content types that requests in these formats have.
func (f Formats) ContentTypes() []string {
	var out []string
	for _, one := range []Formats{AWSJSON11, AWSJSON10, CBOR11} {
		if f&one != 0 {
			out = append(out, contentTypeOf(one))
		}
	}
	if f&Query != 0 {
		out = append(out, typeForm) // answers are in XML
	}
	return out
}

// contentTypeOf returns the content type of a response in one format.
func contentTypeOf(f Formats) string {
	switch f {
	case AWSJSON11:
		return typeJSON11
	case AWSJSON10:
		return typeJSON10
	case CBOR11:
		return typeCBOR11
	case plainJSON:
		return typePlainJSON
	case Query:
		return typeXML
	}
	return ""
}

// documentOf returns the document format behind a content type.
func documentOf(f Formats) shape.Format {
	switch f {
	case CBOR11:
		return shape.CBOR
	case Query:
		return shape.Query
	}
	return shape.JSON
}
