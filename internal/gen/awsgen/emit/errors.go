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
		p.line("%q,", n)
	}
	p.line("}")
	p.line("}")
	for _, n := range g.exceptions {
		sh := g.Shapes.Get(n)
		p.line("")
		p.line("// %s returns the error of that name; its message is formatted as by fmt.Sprintf.", exported(n))
		p.line("func %s(format string, args ...any) *shape.Error {", exported(n))
		p.line("return &shape.Error{Code: %q, Message: fmt.Sprintf(format, args...)%s}", n, status(sh))
		p.line("}")
	}
}

func status(sh *model.Shape) string {
	text := ""
	if e := sh.Error; e != nil && e.HTTPStatusCode != 0 {
		text += fmt.Sprintf(", Status: %d", e.HTTPStatusCode)
	}
	if sh.Fault {
		text += ", Fault: true"
	}
	return text
}
