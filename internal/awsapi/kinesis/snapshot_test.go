package kinesis_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	. "github.com/headrace/headrace/internal/awsapi/kinesis"
	"github.com/headrace/headrace/internal/wire/shape"
)

// The module of the Kinesis client for Go carries one recorded request and response per operation
// and one response per error, with every member set. They are the corpus here.

// snapshots returns the bodies of the recorded messages whose files end in suffix, by what stands
// before it, and the first line of each file.
func snapshots(t testing.TB, dir, suffix string) (bodies, heads map[string]string) {
	t.Helper()
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/service/kinesis").Output()
	if err != nil {
		t.Fatalf("find the recorded messages: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), dir, "*"+suffix))
	if err != nil || len(files) == 0 {
		t.Fatalf("find the recorded messages: %d in %s (%v)", len(files), root, err)
	}
	bodies, heads = make(map[string]string), make(map[string]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), suffix)
		head, body, _ := strings.Cut(string(text), "\n\n{")
		heads[name], _, _ = strings.Cut(head, "\n")
		bodies[name] = "{" + body
	}
	return bodies, heads
}

// checkSnapshot decodes a recorded body, demands that encoding gives the same value again, and does
// so once more by way of CBOR.
func checkSnapshot(t *testing.T, name, body string, v shape.Shape) {
	t.Helper()
	if err := decode(v, shape.JSON, []byte(body)); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	if diff := sameJSON(t, encode(v, shape.JSON), []byte(body)); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
	binary := encode(v, shape.CBOR)
	v.Reset()
	if err := decode(v, shape.CBOR, binary); err != nil {
		t.Errorf("%s: CBOR: %v", name, err)
		return
	}
	if diff := sameJSON(t, encode(v, shape.JSON), []byte(body)); diff != "" {
		t.Errorf("%s: CBOR: %s", name, diff)
	}
}

func TestRequestSnapshots(t *testing.T) {
	ops := operations()
	bodies, _ := snapshots(t, "request_snapshot", ".request.snap")
	for name, body := range bodies {
		checkSnapshot(t, name, body, ops[name].NewInput())
	}
	checkAll(t, "request", bodies)
}

func TestResponseSnapshots(t *testing.T) {
	ops := operations()
	bodies, _ := snapshots(t, "response_snapshot", ".response.snap")
	for name, body := range bodies {
		if ops[name].NewOutput == nil {
			if body != "{}" {
				t.Errorf("%s: got %s for an operation without output", name, body)
			}
			continue
		}
		checkSnapshot(t, name, body, ops[name].NewOutput())
	}
	checkAll(t, "response", bodies)
}

// checkAll demands a recorded message for every operation; the one that streams has none.
func checkAll(t *testing.T, kind string, bodies map[string]string) {
	t.Helper()
	for _, name := range OperationNames() {
		if _, ok := bodies[name]; !ok && name != "SubscribeToShard" {
			t.Errorf("%s: no recorded %s", name, kind)
		}
	}
}

// constructors returns the constructor of every modelled error.
func constructors() []func(format string, args ...any) *shape.Error {
	return []func(format string, args ...any) *shape.Error{
		AccessDeniedException, DryRunOperationException, ExpiredIteratorException,
		ExpiredNextTokenException, InternalFailureException, InvalidArgumentException,
		KMSAccessDeniedException, KMSDisabledException, KMSInvalidStateException,
		KMSNotFoundException, KMSOptInRequired, KMSThrottlingException, LimitExceededException,
		ProvisionedThroughputExceededException, ResourceInUseException, ResourceNotFoundException,
		ValidationException,
	}
}

func TestErrors(t *testing.T) {
	bodies, heads := snapshots(t, "response_snapshot", ".error.snap")
	var codes []string
	for _, newError := range constructors() {
		err := newError("Stream %s is %d", "s", 1)
		codes = append(codes, err.Code)
		if err.Message != "Stream s is 1" {
			t.Errorf("%s: got message %q", err.Code, err.Message)
		}
		var recorded struct {
			Type string `json:"__type"`
		}
		if e := json.Unmarshal([]byte(bodies[err.Code]), &recorded); e != nil || recorded.Type != err.Code {
			t.Errorf("%s: recorded as %q (%v)", err.Code, recorded.Type, e)
		}
		if got := fmt.Sprint(err.HTTPStatus()); got != heads[err.Code] {
			t.Errorf("%s: got status %s, want %s", err.Code, got, heads[err.Code])
		}
	}
	if want := ErrorCodes(); !slices.Equal(codes, want) {
		t.Errorf("got constructors of %v, want %v", codes, want)
	}
	if len(bodies) != len(codes) {
		t.Errorf("got %d recorded errors, want %d", len(bodies), len(codes))
	}
}

// TestEnums compares the values with the client's.
func TestEnums(t *testing.T) {
	check(t, types.ConsumerStatus("").Values(), ConsumerStatusActive, ConsumerStatusCreating, ConsumerStatusDeleting)
	check(t, types.EncryptionType("").Values(), EncryptionTypeKMS, EncryptionTypeNone)
	check(t, types.ScalingType("").Values(), ScalingTypeUniformScaling)
	check(t, types.ShardFilterType("").Values(), ShardFilterTypeAfterShardId, ShardFilterTypeAtLatest,
		ShardFilterTypeAtTimestamp, ShardFilterTypeAtTrimHorizon, ShardFilterTypeFromTimestamp, ShardFilterTypeFromTrimHorizon)
	check(t, types.ShardIteratorType("").Values(), ShardIteratorTypeAfterSequenceNumber, ShardIteratorTypeAtSequenceNumber,
		ShardIteratorTypeAtTimestamp, ShardIteratorTypeLatest, ShardIteratorTypeTrimHorizon)
	check(t, types.StreamMode("").Values(), StreamModeOnDemand, StreamModeProvisioned)
	check(t, types.StreamStatus("").Values(), StreamStatusActive, StreamStatusCreating, StreamStatusDeleting, StreamStatusUpdating)
}

func check[C, E ~string](t *testing.T, client []C, ours ...E) {
	t.Helper()
	var want, got []string
	for _, v := range client {
		want = append(want, string(v))
	}
	for _, v := range ours {
		got = append(got, string(v))
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// FuzzDecode reads arbitrary bodies into every structure in both formats. What is accepted must
// validate without a panic and keep its value when written and read again.
func FuzzDecode(f *testing.F) {
	makers := newShapes()
	var names []string
	for name := range makers {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, kind := range []string{"request", "response"} {
		bodies, _ := snapshots(f, kind+"_snapshot", "."+kind+".snap")
		for op, body := range bodies {
			i := slices.Index(names, op+map[string]string{"request": " input", "response": " output"}[kind])
			if i < 0 {
				continue
			}
			f.Add(uint8(i), false, []byte(body))
			v := makers[names[i]]()
			if err := decode(v, shape.JSON, []byte(body)); err != nil {
				f.Fatal(err)
			}
			f.Add(uint8(i), true, encode(v, shape.CBOR))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, binary bool, body []byte) {
		name := names[int(which)%len(names)]
		format := shape.JSON
		if binary {
			format = shape.CBOR
		}
		v := makers[name]()
		if decode(v, format, body) != nil {
			return
		}
		said := violations(v)
		once := encode(v, format)
		again := makers[name]()
		if err := decode(again, format, once); err != nil {
			t.Fatalf("%s: cannot read what was written: %v\n%q", name, err, once)
		}
		if twice := encode(again, format); !bytes.Equal(once, twice) {
			t.Fatalf("%s: got %q the second time, want %q", name, twice, once)
		}
		if got := violations(again); said == "" && got != "" {
			t.Fatalf("%s: valid, but not any more when written and read: %s", name, got)
		}
	})
}
