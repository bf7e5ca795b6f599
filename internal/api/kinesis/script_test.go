package kinesis_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/headrace/headrace/internal/alloctest"
)

// TestOperations runs testdata/*.txt, one script an operation, each against a service of its own
// over HTTP. A script begins at midnight on 1 January 2000 with no streams, and what counts seconds
// counts them from there or from the last world command.
//
// Lines that begin with # are comments. A block is a command, its input, "----" and what is
// printed:
//
//	call OPERATION [name=path...] [cbor | json] [raw]
//	    sends the JSON input and prints status and answer. name=path keeps a value of the answer, for
//	    example it=ShardIterator or seq=Records.0.SequenceNumber; $name in later input stands for
//	    it. A call that changes nothing (it reads, or it was refused) is sent again in CBOR and must
//	    get the same answer, unless json is given; cbor sends it in CBOR alone. Sequence numbers are
//	    printed taken apart, or as they are with raw; iterators and tokens are printed as <opaque>.
//	advance DURATION
//	    lets time pass and what is due then happen.
//	as [account=ID] [region=NAME]
//	    says who calls from here on; account 123456789012 in eu-west-1 does at first.
//	world [transition-delay=DURATION] [memory=BYTES] [shards=N] [streams=N] [on-demand=N] [limits]
//	    starts again with an empty service, in which AWS's limits hold if limits says so.
//
// In inputs $text(x, n) stands for n times x, $blob(n) for n zero bytes in base64, and $list(n, x)
// for x n times with commas between, in which % stands for the number of the element, and $time(d)
// for the time d from now in seconds since 1970.
func TestOperations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t, iterators: map[string]bool{}}
				s.start(setup{})
				defer func() { s.w.close() }() // the bubble waits for its goroutines, a failed script's too
				datadriven.RunTest(t, file, s.run)
			})
		})
	}
}

// script is one script under way.
type script struct {
	t      *testing.T
	w      *world
	client *client
	saved  map[string]string
	// iterators are all that were given out.
	iterators map[string]bool
	// began is when the present world began.
	began time.Time
}

func (s *script) start(c setup) {
	if s.w != nil {
		synctest.Wait() // the server would poll for a connection that is just ending, and time would pass
		s.w.close()
	}
	s.w = newWorld(s.t, c)
	s.client = overPipes(s.w)
	s.saved, s.began = map[string]string{}, time.Now()
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "call":
		return s.call(d)
	case "advance":
		by, err := time.ParseDuration(d.CmdArgs[0].Key)
		s.check(d, err)
		<-time.After(by)
		synctest.Wait()
		return fmt.Sprintf("%+gs\n", time.Since(s.began).Seconds())
	case "as":
		s.client.account = arg(d, "account", s.client.account)
		s.client.region = arg(d, "region", s.client.region)
		return fmt.Sprintf("account %s in %s\n", s.client.account, s.client.region)
	case "world":
		var c setup
		var err error
		c.delay, err = time.ParseDuration(arg(d, "transition-delay", "0s"))
		s.check(d, err)
		c.memory, c.limits = arg(d, "memory", int64(0)), d.HasArg("limits")
		c.caps.Shards, c.caps.Streams, c.caps.OnDemandStreams = arg(d, "shards", 0), arg(d, "streams", 0), arg(d, "on-demand", 0)
		s.start(c)
		return "ok\n"
	}
	t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	return ""
}

func (s *script) check(d *datadriven.TestData, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", d.Pos, err)
	}
}

// arg returns a named argument, or def.
func arg[T any](d *datadriven.TestData, name string, def T) T {
	if d.HasArg(name) {
		d.ScanArgs(&testing.T{}, name, &def)
	}
	return def
}

// call makes a call and prints its answer.
func (s *script) call(d *datadriven.TestData) string {
	operation, document := d.CmdArgs[0].Key, s.expand(d.Input)
	raw := d.HasArg("raw")
	print := func(a answer) string {
		text := a.text(raw, s.began)
		for name, value := range s.saved {
			if len(value) > 60 { // an iterator or token in an error's message
				text = strings.ReplaceAll(text, value, "$"+name)
			}
		}
		return text
	}
	var a answer
	if d.HasArg("cbor") {
		a, _ = s.client.callCBOR(operation, document)
	} else {
		a = s.client.call(operation, document)
	}
	text := print(a)
	s.checkIterator(d, a)
	twice := !d.HasArg("cbor") && !d.HasArg("json") && (a.status != http.StatusOK || reads(operation))
	if alloctest.Raced && max(len(document), a.size) > 1<<20 {
		twice = false // the race detector takes seconds for such a call
	}
	if twice {
		if again, ok := s.client.callCBOR(operation, document); ok && print(again) != text {
			s.t.Errorf("%s: %s answers in CBOR\n%sand in JSON\n%s", d.Pos, operation, print(again), text)
		}
	}
	for _, name := range d.CmdArgs[1:] {
		if len(name.Vals) == 1 {
			value, err := pick(a.body, name.Vals[0])
			s.check(d, err)
			s.saved[name.Key] = value
		}
	}
	return text
}

// checkIterator holds an iterator to the form of AWS's: base64 of 8 bytes, the last of which is 1, and
// of 144 to 272 others in blocks of 16; no two are the same.
func (s *script) checkIterator(d *datadriven.TestData, a answer) {
	s.t.Helper()
	members, _ := a.body.(map[string]any)
	for _, name := range []string{"ShardIterator", "NextShardIterator"} {
		text, ok := members[name].(string)
		if !ok {
			continue
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(b) < 152 || len(b) > 280 || len(b)%16 != 8 || string(b[:8]) != "\x00\x00\x00\x00\x00\x00\x00\x01" {
			s.t.Errorf("%s: %s %s has %d bytes, error %v", d.Pos, name, text, len(b), err)
		}
		if s.iterators[text] {
			s.t.Errorf("%s: the same %s again: %s", d.Pos, name, text)
		}
		s.iterators[text] = true
	}
}

// reads reports whether an operation changes nothing.
func reads(operation string) bool {
	return strings.HasPrefix(operation, "Get") || strings.HasPrefix(operation, "List") || strings.HasPrefix(operation, "Describe")
}

// pick returns the string at a path such as Records.0.SequenceNumber.
func pick(v any, path string) (string, error) {
	for _, step := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i >= len(at) {
				return "", fmt.Errorf("no element %s of %s", step, path)
			}
			v = at[i]
		default:
			return "", fmt.Errorf("nothing at %s", path)
		}
	}
	text, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("no text at %s", path)
	}
	return text, nil
}

var (
	textMacro = regexp.MustCompile(`\$text\((.*?), (\d+)\)`)
	blobMacro = regexp.MustCompile(`\$blob\((\d+)\)`)
	listMacro = regexp.MustCompile(`\$list\((\d+), ((?:[^()]|\([^()]*\))*)\)`)
	timeMacro = regexp.MustCompile(`\$time\((.*?)\)`)
	variable  = regexp.MustCompile(`\$([a-z]\w*)`)
)

// macros are what variable matches and is none.
var macros = map[string]bool{"$text": true, "$blob": true, "$list": true, "$time": true}

// expand replaces what stands for something else in a command's input.
func (s *script) expand(input string) string {
	input = variable.ReplaceAllStringFunc(input, func(m string) string {
		value, ok := s.saved[m[1:]]
		if !ok && !macros[m] {
			s.t.Fatalf("no value was kept as %s", m)
		}
		if !ok {
			return m
		}
		return value
	})
	input = listMacro.ReplaceAllStringFunc(input, func(m string) string {
		part := listMacro.FindStringSubmatch(m)
		list := make([]string, atoi(part[1]))
		for i := range list {
			list[i] = strings.ReplaceAll(part[2], "%", strconv.Itoa(i))
		}
		return strings.Join(list, ",")
	})
	input = timeMacro.ReplaceAllStringFunc(input, func(m string) string {
		d, err := time.ParseDuration(timeMacro.FindStringSubmatch(m)[1])
		if err != nil {
			s.t.Fatal(err)
		}
		return string(number(float64(time.Now().Add(d).UnixMilli()) / 1000))
	})
	input = textMacro.ReplaceAllStringFunc(input, func(m string) string {
		part := textMacro.FindStringSubmatch(m)
		return strings.Repeat(part[1], atoi(part[2]))
	})
	return blobMacro.ReplaceAllStringFunc(input, func(m string) string {
		n := atoi(blobMacro.FindStringSubmatch(m)[1])
		return strings.Repeat("AAAA", n/3) + []string{"", "AA==", "AAA="}[n%3]
	})
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}
