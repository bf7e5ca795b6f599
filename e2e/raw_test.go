package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	// authorization is a signature of the right form, which is all that `headrace dev` looks at.
	authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, " +
		"SignedHeaders=host;x-amz-date;x-amz-target, Signature=00000000000000000000000000000000000000000000000000000000000000ff"
	target = "Kinesis_20131202."
	// requestLimit is how long a request may take that nobody holds back.
	requestLimit = 15 * time.Second
)

// http [-h2] METHOD PATH ['Name: value' ...]
//
// Sends a request without a body and prints the response: status line, headers in order of name,
// an empty line, body. -h2 speaks HTTP/2 without TLS and with prior knowledge.
func plainRequest(ts *testscript.TestScript, neg bool, args []string) {
	version, args := httpVersion(args)
	usage(ts, !neg && len(args) >= 2, "http [-h2] METHOD PATH ['Name: value' ...]")
	request(ts, version, args[0], args[1], args[2:], "")
}

// call [-h2] OPERATION BODY ['Name: value' ...]
//
// Sends a signed call of a Kinesis operation as JSON and prints the response as http does. BODY is
// the body itself, or @FILE. A header that is given replaces the one that would be sent, and
// 'Name:' leaves it out.
func call(ts *testscript.TestScript, neg bool, args []string) {
	version, args := httpVersion(args)
	usage(ts, !neg && len(args) >= 2, "call [-h2] OPERATION BODY ['Name: value' ...]")
	headers := append([]string{
		"Authorization: " + authorization,
		"X-Amz-Date: 20260101T000000Z",
		"X-Amz-Target: " + target + args[0],
		"Content-Type: application/x-amz-json-1.1",
	}, args[2:]...)
	request(ts, version, http.MethodPost, "/", headers, bodyOf(ts, args[1]))
}

func httpVersion(args []string) (major int, rest []string) {
	if len(args) > 0 && args[0] == "-h2" {
		return 2, args[1:]
	}
	return 1, args
}

func bodyOf(ts *testscript.TestScript, arg string) string {
	if file, ok := strings.CutPrefix(arg, "@"); ok {
		return ts.ReadFile(file)
	}
	return arg
}

// request sends one request on a connection of its own and prints the response on stdout.
func request(ts *testscript.TestScript, major int, method, path string, headers []string, body string) {
	ts.Check(requestBy(ts, &http.Transport{Protocols: only(major), DisableCompression: true}, method, path, headers, body))
}

// only is one version of HTTP, without TLS as far as the transport knows.
func only(major int) *http.Protocols {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(major == 1)
	protocols.SetUnencryptedHTTP2(major == 2)
	return protocols
}

// requestBy sends one request by a transport, which it closes, and prints the response on stdout. It
// returns why there is none.
func requestBy(ts *testscript.TestScript, transport *http.Transport, method, path string, headers []string, body string) error {
	ctx, cancel := context.WithTimeout(context.Background(), requestLimit)
	defer cancel()
	_, address, _ := strings.Cut(worldOf(ts).running(ts).Endpoint, "://")
	r, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, strings.NewReader(body))
	ts.Check(err)
	for _, h := range headers {
		name, value, ok := strings.Cut(h, ":")
		usage(ts, ok, "a header is 'Name: value'")
		switch value = strings.TrimSpace(value); {
		case value == "":
			r.Header.Del(name)
		case name == "Host":
			r.Host = value
		default:
			r.Header.Set(name, value)
		}
	}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return err
	}
	show(ts, response)
	return nil
}

func show(ts *testscript.TestScript, r *http.Response) {
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s %s\n", r.Proto, r.Status)
	names := make([]string, 0, len(r.Header))
	for name := range r.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(ts.Stdout(), "%s: %s\n", name, strings.Join(r.Header[name], ", "))
	}
	fmt.Fprintf(ts.Stdout(), "\n%s\n", body)
}

// repeat N call ...
// repeat N until PATTERN call ...
//
// Makes the call N times, all of which must succeed, or up to N times, until what it prints matches
// the pattern.
func repeat(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 3, "repeat N [until PATTERN] call ...")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	args = args[1:]
	var want *regexp.Regexp
	if args[0] == "until" {
		want = pattern(ts, args[1])
		args = args[2:]
	}
	usage(ts, args[0] == "call", "repeat N [until PATTERN] call ...")
	ok := pattern(ts, `^HTTP/\S+ 200 `)
	for i := range n {
		printed := ts.Stdout().(*strings.Builder)
		printed.Reset()
		call(ts, false, args[1:])
		switch {
		case want == nil && !ok.MatchString(printed.String()):
			ts.Fatalf("call %d of %d failed", i+1, n)
		case want != nil && want.MatchString(printed.String()):
			ts.Logf("after %d calls", i+1)
			return
		}
	}
	if want != nil {
		ts.Fatalf("%d calls brought no output like %s", n, want)
	}
}

// record FILE STREAM BYTES
//
// Writes the body of a PutRecord call that carries that many bytes of data.
func recordFile(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "record FILE STREAM BYTES")
	size, err := strconv.Atoi(args[2])
	ts.Check(err)
	data := base64.StdEncoding.EncodeToString(make([]byte, size))
	body := fmt.Sprintf(`{"StreamName":%q,"PartitionKey":"k","Data":%q}`, args[1], data)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(body), 0o600))
}

// iterator FILE STREAM SHARD
//
// Writes the body of a GetRecords call that reads the shard from its beginning.
func iterator(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "iterator FILE STREAM SHARD")
	call(ts, false, []string{"GetShardIterator", fmt.Sprintf(`{"StreamName":%q,"ShardId":%q,"ShardIteratorType":"TRIM_HORIZON"}`, args[1], args[2])})
	found := regexp.MustCompile(`\{"ShardIterator":"[^"]+"\}`).FindString(ts.Stdout().(*strings.Builder).String())
	if found == "" {
		ts.Fatalf("no shard iterator")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(found), 0o600))
}

// residentMemory asks the server how many bytes of memory it has.
func residentMemory(ts *testscript.TestScript, endpoint string) int64 {
	return int64(gauge(ts, endpoint, "process_resident_memory_bytes"))
}

// gauge asks the server for a metric without labels.
func gauge(ts *testscript.TestScript, endpoint, name string) float64 {
	response, err := http.Get(endpoint + "/metrics")
	ts.Check(err)
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	ts.Check(err)
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindSubmatch(page)
	if found == nil {
		ts.Fatalf("/metrics has no %s", name)
	}
	value, err := strconv.ParseFloat(string(found[1]), 64)
	ts.Check(err)
	return value
}

func atoi(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

// rawConn is one client's connection, with no more behaviour than its script gives it.
type rawConn struct {
	net.Conn
	in   *bufio.Reader
	rest string // of the request, of hold
}

func dial(endpoint string) (*rawConn, error) {
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(endpoint, "http://"), patience)
	if err != nil {
		return nil, err
	}
	return &rawConn{Conn: c, in: bufio.NewReaderSize(c, 512)}, nil
}

func (c *rawConn) close() { _ = c.Close() } // the other side may be gone

// open connects and sends the header of a call with a body of that many bytes.
func open(ts *testscript.TestScript, operation string, size int, more ...string) *rawConn {
	c, err := dial(worldOf(ts).running(ts).Endpoint)
	ts.Check(err)
	_, err = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: %s\r\nX-Amz-Date: 20260101T000000Z\r\n"+
		"X-Amz-Target: %s%s\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n%s\r\n", authorization, target, operation, size, strings.Join(more, ""))
	ts.Check(err)
	return c
}

// hold NAME OPERATION BODY
//
// Begins a call on a connection of its own and holds back the second half of its body. The server
// has begun to read it when hold returns, because it said that it would.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "hold NAME OPERATION BODY")
	body := bodyOf(ts, args[2])
	c := open(ts, args[1], len(body), "Expect: 100-continue\r\n")
	ts.Check(c.SetDeadline(time.Now().Add(requestLimit)))
	proceed, err := http.ReadResponse(c.in, nil)
	ts.Check(err)
	if proceed.StatusCode != http.StatusContinue {
		ts.Fatalf("the server does not want the body: %s", proceed.Status)
	}
	half := len(body) / 2
	_, err = io.WriteString(c, body[:half])
	ts.Check(err)
	c.rest = body[half:]
	worldOf(ts).held[args[0]] = c
}

// finish NAME
//
// Sends the rest of a held call and prints the response as http does.
func finish(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	usage(ts, !neg && len(args) == 1 && w.held[args[0]] != nil, "finish NAME, which was held")
	c := w.held[args[0]]
	delete(w.held, args[0])
	defer c.close()
	ts.Check(c.SetDeadline(time.Now().Add(requestLimit)))
	_, err := io.WriteString(c, c.rest)
	ts.Check(err)
	response, err := http.ReadResponse(c.in, nil)
	ts.Check(err)
	show(ts, response)
}

// stall N OPERATION BYTES [BODY]
//
// Opens N connections that begin a call, announce so many bytes of body, send BODY of them and then
// nothing. Without an operation ("") they stop in the middle of the header.
func stall(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && (len(args) == 3 || len(args) == 4), "stall N OPERATION BYTES [BODY]")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	size, err := strconv.Atoi(args[2])
	ts.Check(err)
	w := worldOf(ts)
	for range n {
		if args[1] == "" {
			c, err := dial(w.running(ts).Endpoint)
			ts.Check(err)
			_, err = io.WriteString(c, "POST / HTTP/1.1\r\nHost: local")
			ts.Check(err)
			w.stalled = append(w.stalled, c)
			continue
		}
		c := open(ts, args[1], size)
		w.stalled = append(w.stalled, c)
		if len(args) == 4 {
			_, err := io.WriteString(c, bodyOf(ts, args[3]))
			ts.Check(err)
		}
	}
}

// hoard N OPERATION BODY
//
// Opens N connections that make a call and read nothing of the response.
func hoard(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "hoard N OPERATION BODY")
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	body := bodyOf(ts, args[2])
	w := worldOf(ts)
	for range n {
		c := open(ts, args[1], len(body))
		w.stalled = append(w.stalled, c)
		_, err := io.WriteString(c, body)
		ts.Check(err)
	}
}

// cut SECONDS
//
// Waits until the server has hung up on every stalled connection, within so many seconds.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "cut SECONDS")
	seconds, err := strconv.Atoi(args[0])
	ts.Check(err)
	w := worldOf(ts)
	limit := time.Now().Add(time.Duration(seconds) * time.Second)
	for i, c := range w.stalled {
		ts.Check(c.SetReadDeadline(limit))
		// What the server still sent is read, then its end of the connection.
		if _, err := io.Copy(io.Discard, c.in); isTimeout(err) {
			ts.Fatalf("connection %d of %d was not cut in %d s", i+1, len(w.stalled), seconds)
		}
	}
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout()
}
