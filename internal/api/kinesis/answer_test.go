package kinesis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var mapType = reflect.TypeFor[map[string]any]()

// width is how long a line of an answer may get before it is broken up.
const width = 118

// number is a number as scripts print it, whichever format it came in.
func number(f float64) json.Number { return json.Number(strconv.FormatFloat(f, 'f', -1, 64)) }

// opaque are the members whose values are different every time.
var opaque = []string{"ShardIterator", "NextShardIterator", "NextToken"}

// text prints an answer the way scripts show it: the status, then the body with the members of each
// structure in alphabetical order. What differs from run to run is masked and what is long is
// shortened. Times in sequence numbers are counted from began; raw leaves the numbers as they are.
func (a answer) text(raw bool, began time.Time) string {
	out := strconv.Itoa(a.status) + "\n"
	if a.body == nil {
		return out
	}
	body := layout(masked("", a.body), "") + "\n"
	if !raw {
		body = sequenceNumber.ReplaceAllStringFunc(body, func(n string) string { return readable(n, began) })
	}
	return out + body
}

// masked returns v with opaque values hidden, long strings shortened and numbers in one form.
func masked(member string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, x := range v {
			out[k] = masked(k, x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = masked(member, x)
		}
		return out
	case float64:
		return number(v)
	case string:
		if slices.Contains(opaque, member) && v != "" {
			return "<opaque>"
		}
		return shortened(v)
	}
	return v
}

// shortened cuts runs of one character down, and what is long after that in the middle.
func shortened(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && s[j] == s[i] {
			j++
		}
		if j-i < 30 {
			b.WriteString(s[i:j])
		} else {
			fmt.Fprintf(&b, "%c…%d times…", s[i], j-i)
		}
		i = j
	}
	if short := b.String(); len(short) > 4000 {
		return short[:200] + "…" + short[len(short)-1200:]
	}
	return b.String()
}

// layout prints a value on one line if it fits and else a member or element a line.
func layout(v any, indent string) string {
	line := oneLine(v)
	if len(indent)+len(line) <= width {
		return line
	}
	var parts []string
	deeper := indent + "  "
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, deeper+oneLine(k)+": "+layout(v[k], deeper))
		}
		return "{\n" + strings.Join(parts, ",\n") + "\n" + indent + "}"
	case []any:
		for _, x := range v {
			parts = append(parts, deeper+layout(x, deeper))
		}
		return "[\n" + strings.Join(parts, ",\n") + "\n" + indent + "]"
	}
	return line
}

func oneLine(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, oneLine(k)+": "+oneLine(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		var parts []string
		for _, x := range v {
			parts = append(parts, oneLine(x))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

var sequenceNumber = regexp.MustCompile(`\b(49|5[0-4])\d{54}\b`)

// readable takes a sequence number apart by AWS's published layout: 47 hexadecimal digits
//
//	2 | shard created, s:9 | low nibble of shard:1 | number:16 | 00 | arrived, s:9 | shard:8 | 2
//
// and prints it with its times counted from began. One of any other form stays as it is.
func readable(text string, began time.Time) string {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return text
	}
	digits := n.Text(16)
	if len(digits) != 47 || digits[0] != '2' || digits[46] != '2' || digits[27:29] != "00" || digits[10] != digits[45] || digits[11] > '7' || digits[38] > '7' {
		return text
	}
	field := func(from, to int) int64 {
		v, err := strconv.ParseUint(digits[from:to], 16, 64)
		if err != nil {
			return -1
		}
		return int64(v)
	}
	created, arrived := field(1, 10)-began.Unix(), field(29, 38)-began.Unix()
	index := strconv.FormatInt(field(11, 27), 10)
	if digits[11:27] == "7fffffffffffffff" {
		index = "end"
	}
	return fmt.Sprintf("<shard %d, created %+ds, number %s, %+ds>", field(38, 46), created, index, arrived)
}
