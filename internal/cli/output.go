package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// The output formats. JSON uses AWS's member names.
const (
	formatTable  = "table"
	formatJSON   = "json"
	formatNDJSON = "ndjson"
	formatRaw    = "raw"
)

// output is the -o flag of one command and the printing that follows it.
type output struct {
	format  string
	allowed []string
}

// flag adds -o with the formats that the command has, the first of which is the default.
func (o *output) flag(cmd *cobra.Command, formats ...string) {
	o.allowed, o.format = formats, formats[0]
	cmd.Flags().VarP(o, "output", "o", "output `format`: "+strings.Join(formats, ", "))
}

func (o *output) String() string { return o.format }
func (o *output) Type() string   { return "format" }

func (o *output) Set(s string) error {
	if !slices.Contains(o.allowed, s) {
		return fmt.Errorf("want one of %s", strings.Join(o.allowed, ", "))
	}
	o.format = s
	return nil
}

// object prints v as one JSON value: indented, or on one line for ndjson.
func (o *output) object(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if o.format == formatJSON {
		e.SetIndent("", "  ")
	}
	return e.Encode(v)
}

// result prints the outcome of a command that did one thing: a line for people, or an object.
func (o *output) result(w io.Writer, v any, format string, args ...any) error {
	if o.format != formatTable {
		return o.object(w, v)
	}
	_, err := fmt.Fprintf(w, format+"\n", args...)
	return err
}

// list prints items as a JSON array, as a line each, or as a table whose cells row makes.
func list[T any](o *output, w io.Writer, items []T, header string, row func(T) []string) error {
	switch o.format {
	case formatJSON:
		return o.object(w, append([]T{}, items...)) // [] rather than null
	case formatNDJSON:
		for _, item := range items {
			if err := o.object(w, item); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.ReplaceAll(header, " ", "\t"))
	for _, item := range items {
		fmt.Fprintln(t, strings.Join(row(item), "\t"))
	}
	return t.Flush()
}

// sequence prints items as they come, as ndjson or as one JSON array.
type sequence struct {
	w       io.Writer
	format  string
	started bool
}

func (s *sequence) item(v any) error {
	text, err := marshal(v)
	if err != nil {
		return err
	}
	before, after := "", "\n" // a line of ndjson is whole as soon as it is written
	if s.format == formatJSON {
		before, after = ",\n", ""
		if !s.started {
			before = "[\n"
		}
	}
	s.started = true
	_, err = fmt.Fprintf(s.w, "%s%s%s", before, text, after)
	return err
}

// end closes the array, which may be empty.
func (s *sequence) end() error {
	after := ""
	switch {
	case s.format == formatJSON && s.started:
		after = "\n]\n"
	case s.format == formatJSON:
		after = "[]\n"
	}
	_, err := io.WriteString(s.w, after)
	return err
}

// marshal is json.Marshal without HTML escapes and without a final newline.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}
