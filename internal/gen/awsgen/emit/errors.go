package emit

import (
	"fmt"

	"github.com/headrace/headrace/internal/gen/awsgen/model"
)

// errors writes a constructor per modelled error and the list of their codes.
func (g *generator) errors(p *printer) {
	p.line("// ErrorCodes returns the codes of all errors in the model, in its order.")
	p.line("func ErrorCodes() []string {")
	p.line("return []string{")
	for _, n := range g.exceptions {
		p.line("%q,", g.code(n))
	}
	p.line("}")
	p.line("}")
	for _, n := range g.exceptions {
		sh := g.Shapes.Get(n)
		p.line("")
		p.line("// %s returns the error of that name; its message is formatted as by fmt.Sprintf.", exported(n))
		p.line("func %s(format string, args ...any) *shape.Error {", exported(n))
		p.line("return &shape.Error{Code: %q, Message: fmt.Sprintf(format, args...)%s}", g.code(n), g.status(n, sh))
		p.line("}")
	}
}

// code returns what an error is called in documents: by its shape, but in awsQuery often otherwise.
func (g *generator) code(name string) string {
	if e := g.Shapes.Get(name).Error; g.query() && e != nil && e.Code != "" {
		return e.Code
	}
	return name
}

func (g *generator) status(name string, sh *model.Shape) string {
	text := ""
	if e := sh.Error; g.Metadata.AWSQueryCompatible != nil && e != nil && e.Code != "" && e.Code != name {
		text += fmt.Sprintf(", QueryCode: %q", e.Code)
	}
	if e := sh.Error; e != nil && e.HTTPStatusCode != 0 {
		text += fmt.Sprintf(", Status: %d", e.HTTPStatusCode)
	}
	if sh.Fault {
		text += ", Fault: true"
	}
	return text
}
