package kinesis_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/headrace/headrace/internal/stream"
)

// FuzzService sends any operation any body in any content type. Whatever comes, there is one
// well-formed answer with a request id, and nothing is the server's fault. The seeds are the inputs
// of all scripts, in JSON and CBOR; in a body $it stands for an iterator of the stream mill.
func FuzzService(f *testing.F) {
	addScripts(f)
	f.Add("PutRecords", typeCBOR, []byte("\xbf\x67Records\x9b\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Add("GetRecords", "application/json", []byte(`{"ShardIterator": "$it"}`))
	f.Add("SubscribeToShard", typeJSON, []byte(`{}`))
	f.Add("NoSuchOperation", "", []byte(`[[[[`))

	w := newWorld(f, setup{memory: 32 << 20, caps: stream.Caps{Streams: 20, Shards: 100}})
	f.Cleanup(func() {
		w.t = f
		w.close()
	})
	var it string
	f.Fuzz(func(t *testing.T, operation, contentType string, body []byte) {
		w.t = t
		if it == "" {
			it = fuzzIterator(w)
		}
		body = bytes.ReplaceAll(body, []byte("$it"), []byte(it))
		out := httptest.NewRecorder()
		w.handler.ServeHTTP(out, fuzzRequest(operation, contentType, body))
		checkAnswer(t, out)
		if operation == "DeleteStream" {
			it = "" // it may have been the iterator's
		}
	})
}

// fuzzRequest is a signed call. Header values are set as they are, as a socket would deliver them.
func fuzzRequest(operation, contentType string, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://kinesis/", bytes.NewReader(body))
	head(r.Header, operation, contentType, "123456789012", "eu-west-1")
	return r
}

// fuzzIterator returns an iterator of the stream mill, which it makes if need be.
func fuzzIterator(w *world) string {
	for _, call := range [][2]string{
		{"CreateStream", `{"StreamName": "mill", "ShardCount": 2}`},
		{"PutRecord", `{"StreamName": "mill", "PartitionKey": "k", "Data": "aGVsbG8="}`},
		{"GetShardIterator", `{"StreamName": "mill", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON"}`},
	} {
		out := httptest.NewRecorder()
		w.handler.ServeHTTP(out, fuzzRequest(call[0], typeJSON, []byte(call[1])))
		var a struct{ ShardIterator string }
		if json.Unmarshal(out.Body.Bytes(), &a) == nil && a.ShardIterator != "" {
			return a.ShardIterator
		}
	}
	return ""
}

func checkAnswer(t *testing.T, out *httptest.ResponseRecorder) {
	t.Helper()
	body := out.Body.Bytes()
	if ids := out.Header()["x-amzn-RequestId"]; len(ids) != 1 || len(ids[0]) != 36 {
		t.Errorf("request ids %v", ids)
	}
	var wrong error
	switch types := out.Header()["Content-Type"]; {
	case len(types) == 0 || types[0] == "":
		if len(body) > 0 && !bytes.HasPrefix(body, []byte("<")) {
			t.Errorf("an answer without content type: %q", body)
		}
	case len(body) == 0:
	case types[0] == typeCBOR:
		wrong = cbor.Wellformed(body)
	default:
		var any json.RawMessage
		wrong = json.Unmarshal(body, &any)
	}
	if wrong != nil {
		t.Errorf("malformed answer: %v\n%q", wrong, body)
	}
	if out.Code >= 500 {
		t.Errorf("status %d: %q", out.Code, body)
	}
}

// addScripts adds the input of every call of every script that is not too long.
func addScripts(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no scripts: %v", err)
	}
	s := &script{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, block := range strings.Split(string(text), "\ncall ")[1:] {
			head, input, _ := strings.Cut(block, "\n")
			input, _, _ = strings.Cut(input, "\n----\n")
			operation, _, _ := strings.Cut(head, " ")
			if len(input) > 300 || strings.Contains(input, "$blob(1") || strings.Contains(input, "$list") {
				continue
			}
			input = s.expand(variable.ReplaceAllStringFunc(input, func(m string) string {
				if macros[m] {
					return m
				}
				return "%it" // kept from s, which knows no values
			}))
			input = strings.ReplaceAll(input, "%it", "$it")
			f.Add(operation, typeJSON, []byte(input))
			var in any
			if json.Unmarshal([]byte(input), &in) != nil {
				continue
			}
			encoded, err := cbor.Marshal(binary("", in))
			if err != nil {
				f.Fatal(err)
			}
			f.Add(operation, typeCBOR, encoded)
		}
	}
}
