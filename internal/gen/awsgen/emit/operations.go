package emit

import "github.com/headrace/headrace/internal/gen/awsgen/model"

// operations writes the names of all operations and a binder for each, in three sorts: with an
// output, without one, and answering with an event stream.
func (g *generator) operations(p *printer) {
	ops := g.Service.Operations.List()
	p.line("// OperationNames returns the names of all %d operations, in the model's order.", len(ops))
	p.line("func OperationNames() []string {")
	p.line("return []string{")
	for _, op := range ops {
		p.line("%q,", op.Name)
	}
	p.line("}")
	p.line("}")
	for i := range ops {
		g.operation(p, &ops[i].Value)
	}
	p.line("%s", binders)
}

func (g *generator) operation(p *printer, op *model.Operation) {
	in := "struct{}"
	if op.Input != nil {
		in = exported(op.Input.Shape)
	}
	p.line("")
	p.line("// %s binds a handler to the operation of that name.", exported(op.Name))
	if op.Output == nil {
		p.line("// The model gives it no output: its response is empty.")
		p.line("func %s(h func(ctx context.Context, call *shape.Call, in *%s) error) shape.Operation {", exported(op.Name), in)
		p.line("return bindNoOutput(%q, h)", op.Name)
		p.line("}")
		return
	}
	if op.AuthType == "none" {
		p.line("// Its callers need not sign: what they say in it is their proof.")
	}
	streaming := g.streams(op)
	if streaming {
		p.line("// It answers with an event stream: out is the initial response, and call.Push says what follows.")
	}
	p.line("func %s(h func(ctx context.Context, call *shape.Call, in *%s, out *%s) error) shape.Operation {", exported(op.Name), in, exported(op.Output.Shape))
	switch {
	case streaming:
		p.line("op := bind(%q, h)", op.Name)
		p.line("op.Streaming = true")
		p.line("return op")
	case op.AuthType == "none":
		p.line("op := bind(%q, h)", op.Name)
		p.line("op.Unsigned = true")
		p.line("return op")
	default:
		p.line("return bind(%q, h)", op.Name)
	}
	p.line("}")
}

func (g *generator) streams(op *model.Operation) bool {
	for _, m := range g.Of(op.Output).Members.List() {
		if g.Of(&m.Value).EventStream {
			return true
		}
	}
	return false
}

// binders is the part of the operations that is the same for every service.
const binders = `
// pointer is the pointer to a structure, which is its shape.Shape.
type pointer[T any] interface {
	*T
	shape.Shape
}

func bind[I, O any, PI pointer[I], PO pointer[O]](
	name string, h func(context.Context, *shape.Call, PI, PO) error,
) shape.Operation {
	return shape.Operation{
		Name:      name,
		NewInput:  func() shape.Shape { return PI(new(I)) },
		NewOutput: func() shape.Shape { return PO(new(O)) },
		Handle: func(ctx context.Context, call *shape.Call, in, out shape.Shape) error {
			return h(ctx, call, in.(PI), out.(PO))
		},
	}
}

func bindNoOutput[I any, PI pointer[I]](
	name string, h func(context.Context, *shape.Call, PI) error,
) shape.Operation {
	return shape.Operation{
		Name:     name,
		NewInput: func() shape.Shape { return PI(new(I)) },
		Handle: func(ctx context.Context, call *shape.Call, in, _ shape.Shape) error {
			return h(ctx, call, in.(PI))
		},
	}
}`
