package emit

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

// printer collects Go source; indentation is gofmt's work.
type printer struct {
	text bytes.Buffer
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(&p.text, format, args...)
	p.text.WriteByte('\n')
}

// used divides the imports the text needs into the standard library's and the module's.
func (p *printer) used(imports []string) (std, own []string) {
	for _, name := range imports {
		switch {
		case !bytes.Contains(p.text.Bytes(), []byte(path.Base(name)+".")):
		case strings.Contains(name, "."):
			own = append(own, name)
		default:
			std = append(std, name)
		}
	}
	return std, own
}

// exported returns the Go name of a shape, member or operation.
func exported(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// unexported returns a name for package-private declarations about a shape.
func unexported(name string) string {
	n := 1
	for n < len(name) && upper(name[n]) && (n+1 == len(name) || upper(name[n+1])) {
		n++ // GSRSchemaARN becomes gsrSchemaARN
	}
	return strings.ToLower(name[:n]) + name[n:]
}

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }

// enumConstant returns the Go name of an enumeration's value: AT_LATEST of ShardFilterType is
// ShardFilterTypeAtLatest. Words that are initialisms keep their capitals.
func enumConstant(shape, value string) string {
	var b strings.Builder
	b.WriteString(exported(shape))
	word := func(r rune) bool { return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9') }
	for _, w := range strings.FieldsFunc(value, word) {
		b.WriteString(enumWord(w))
	}
	return b.String()
}

func enumWord(w string) string {
	switch w {
	case "KMS", "S3", "GSR", "JSON", "ARN", "AWS", "SQL", "VPC", "HTTP", "IR":
		return w
	}
	if strings.ToUpper(w) == w {
		return w[:1] + strings.ToLower(w[1:])
	}
	return exported(w)
}

// quoted returns text as a Go string, raw if that reads better.
func quoted(text string) string {
	if strings.Contains(text, `\`) && !strings.Contains(text, "`") {
		return "`" + text + "`"
	}
	return fmt.Sprintf("%q", text)
}
