package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/headrace/headrace/internal/certificate/acmetest"
	"github.com/headrace/headrace/internal/secret/kms/kmstest"
	"github.com/headrace/headrace/internal/strangers"
	"github.com/headrace/headrace/internal/testpoll"
)

// crowd N BODY
//
// Stands N clients of package strangers beside the script's own. BODY is that of a GetRecords call
// with an answer that they take a byte at a time. All of them are connected when crowd returns.
func crowd(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	usage(ts, !neg && len(args) == 2 && w.crowd == nil, "crowd N BODY")
	n := atoi(ts, args[0])
	endpoint := w.running(ts).Endpoint
	w.crowd = strangers.Gather(strangers.Config{Address: strings.TrimPrefix(endpoint, "http://"), Connections: n, Answer: bodyOf(ts, args[1])})
	testpoll.Until(failing{w.tb, ts}, patience, func() bool {
		return gauge(ts, endpoint, "headrace_connections_open") >= float64(n)
	}, "the crowd to be there")
}

// tired SECONDS N
//
// Waits until the server has cut N connections of every kind of stranger that it cuts for being slow,
// within so many seconds. Those that take their answer slowly have it in the system's buffers, and
// those of HTTP/2 go on as long as they begin new streams: those are ended.
func tired(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	usage(ts, !neg && len(args) == 2 && w.crowd != nil, "tired SECONDS N, with a crowd")
	seconds, n := atoi(ts, args[0]), atoi(ts, args[1])
	testpoll.Until(failing{w.tb, ts}, time.Duration(seconds)*time.Second, func() bool {
		for _, k := range strangers.Kinds() {
			if k != strangers.Readers && k != strangers.Streams && w.crowd.Cut(k) < n {
				return false
			}
		}
		return true
	}, "the server to be tired of them")
	for _, k := range strangers.Kinds() {
		ts.Logf("%v: %d cut", k, w.crowd.Cut(k))
	}
}

// acme FRONT ROOT
//
// Runs an ACME authority that looks for challenges at PORT, which is free. ACME_DIRECTORY is its
// address, the file FRONT holds whom to trust there, and ROOT whom clients trust.
func acmeAuthority(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "acme FRONT ROOT")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	port := l.Addr().(*net.TCPAddr).Port
	ts.Check(l.Close())
	authority := acmetest.Start(worldOf(ts).tb, port)
	ts.Setenv("PORT", strconv.Itoa(port))
	ts.Setenv("ACME_DIRECTORY", authority.Directory)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), authority.Front, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), authority.Root, 0o600))
}

// kms FILE
//
// Runs a key management service, which servers and commands of the script reach from now on. KMS_URI and
// KMS_OTHER are keys of it as AWS's service has them, KMS_VAULT one as Vault has them; FILE holds whom to
// trust there. A server's calls are let in; commands take the credentials KMS_ACCESS_KEY and KMS_SECRET_KEY.
func keyService(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "kms FILE")
	w := worldOf(ts)
	service := kmstest.Start(w.tb)
	file := ts.MkAbs(args[0])
	ts.Check(os.WriteFile(file, service.CA, 0o600))
	for name, value := range service.Environ(file) {
		w.environ = append(w.environ, name+"="+value)
		ts.Setenv(name, value)
	}
	ts.Setenv("KMS_ACCESS_KEY", kmstest.AccessKey)
	ts.Setenv("KMS_SECRET_KEY", kmstest.SecretKey)
	ts.Setenv("KMS_URI", "aws-kms://"+kmstest.ARN)
	ts.Setenv("KMS_OTHER", "aws-kms://"+kmstest.Elsewhere)
	ts.Setenv("KMS_VAULT", "hcvault://"+service.Vault+"/"+kmstest.Transit)
}

// eventuallyTLS FILE NAME
//
// Waits until the server has a certificate for the name that a client takes which trusts the file.
func eventuallyTLS(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "eventuallytls FILE NAME")
	w := worldOf(ts)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ts.ReadFile(args[0])))
	_, address, _ := strings.Cut(w.running(ts).Endpoint, "://")
	testpoll.Until(failing{w.tb, ts}, 3*patience, func() bool {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: args[1]})
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, "a certificate for "+args[1])
}

// tls FILE|- [-h2] [-silent] METHOD PATH ['Name: value' ...]
//
// Is http by TLS, as a client that trusts the authorities in the file, or none of them. -h2 speaks
// HTTP/2, -silent without having said so by ALPN.
func tlsRequest(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) > 2, "tls FILE|- [-h2] [-silent] METHOD PATH ['Name: value' ...]")
	wants := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	if args[0] != "-" && !wants.RootCAs.AppendCertsFromPEM([]byte(ts.ReadFile(args[0]))) {
		ts.Fatalf("no certificate in %s", args[0])
	}
	major, args := httpVersion(args[1:])
	if args[0] == "-silent" {
		args = args[1:]
	} else {
		wants.NextProtos = []string{map[int]string{1: "http/1.1", 2: "h2"}[major]}
	}
	usage(ts, len(args) >= 2, "tls FILE|- [-h2] [-silent] METHOD PATH ['Name: value' ...]")
	// The transport is told that the URL is plain, and does not choose the protocol itself.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return (&tls.Dialer{Config: wants}).DialContext(ctx, network, addr)
	}
	err := requestBy(ts, &http.Transport{Protocols: only(major), DisableCompression: true, DialContext: dial}, args[0], args[1], args[2:], "")
	if (err != nil) != neg {
		ts.Fatalf("the request ended with %v", err)
	}
}
