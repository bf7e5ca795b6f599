// Package config is Headrace's configuration: one struct, one table of keys, and the loading of one
// file, the environment and flags over the defaults, with the source of every value remembered.
//
// Precedence is flags > HEADRACE_* environment variables > one YAML file > defaults. Every key has
// the same three spellings: limits.request-body in the file is HEADRACE_LIMITS_REQUEST_BODY and
// --limits-request-body. An unknown key in the file is an error that names its line. An unknown
// HEADRACE_* variable is only a warning, because platforms set such variables themselves: in
// Kubernetes a service called headrace gives every pod HEADRACE_PORT and HEADRACE_SERVICE_HOST.
//
// It is not where secrets live: no key holds one, and a later key for one must be the path of a
// file. It does not print, watch or change configuration, and it is no place for a service's own
// settings, which callers make through that service's API.
package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the effective configuration of one process. Default gives a valid one.
type Config struct {
	// Listen is the address of the one port, host:port; port 0 picks a free one.
	Listen string
	// Data is the directory that everything is kept in; "" keeps it in memory.
	Data string
	// WALSize is the size of the write-ahead log of a data directory; AutoWAL leaves it to the
	// profile: use WALBytes to read it.
	WALSize Size
	// Memory is the budget for stored records and requests in flight; AutoMemory is a quarter of
	// what the machine or the control group has. Use MemoryBytes to read it.
	Memory Size
	// TransitionDelay is how long a stream stays CREATING, UPDATING or DELETING.
	TransitionDelay time.Duration
	// Account is the account of callers whose access key is not itself a 12-digit account id.
	Account string
	// Region is the region that connection hints and client commands name.
	Region string
	// NodeKey names the node's key: a file, env: and the name of a variable, or the URI of a KMS's key that
	// wraps it; "" is the file node.key in the data directory. It never holds the key itself, nor any
	// credentials.
	NodeKey string
	// Encrypt makes a new data directory one that is encrypted under the node's key.
	Encrypt bool
	// DrainTimeout is how long requests in flight may go on once a stop was asked for.
	DrainTimeout time.Duration
	// Limits bound what callers can create and send.
	Limits Limits
	// OnDemand says how on-demand streams follow their load.
	OnDemand OnDemand
	// TLS says how the port is encrypted.
	TLS TLS
	// Audit says what is written down about calls.
	Audit Audit
	// Metrics and Controls say who may use what the port has beside AWS's calls.
	Metrics  Metrics
	Controls Controls
	// Log says what is logged and how.
	Log Log
}

// Limits are hard caps that hold whatever AWS's own quotas would allow, and whether those hold.
type Limits struct {
	// Mode is NoLimits or AWSLimits.
	Mode LimitMode
	// Streams and Shards are the most one account may have in one region.
	Streams, Shards int
	// RequestBody is the largest request body taken, before and after decompression.
	RequestBody Size
	// Connections is the most open connections, ConnectionsPerAddress the most of one address.
	Connections, ConnectionsPerAddress int
	// RequestsPerAddress and RequestsPerKey are how many requests a second one address and one access
	// key may make; 0 sets no bound.
	RequestsPerAddress, RequestsPerKey int
	// StreamBytes is the most that the records of one stream may take: its quota. In memory a part of
	// the disk is no limit, a size is.
	StreamBytes Share
	// LowWater is the free space on the disk below which the biggest writers are throttled, and at
	// half of it everybody; AutoLowWater leaves it to the size of the disk, 0B switches it off.
	LowWater Share
}

// Log is the configuration of the program's log.
type Log struct {
	// Level is the least severe level that is written.
	Level slog.Level
	// Format is FormatText or FormatJSON.
	Format string
	// Slow is how long a request takes that is logged as slow; 0 logs none.
	Slow time.Duration
}

// The log formats.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// minRequestBody leaves room for every call but the largest puts.
const minRequestBody = 64 << 10

// minMemory holds a few of the largest requests.
const minMemory = 32 << 20

// Default returns the configuration of a process that was told nothing.
func Default() Config {
	return Config{
		Listen:       "127.0.0.1:4566",
		WALSize:      AutoWAL,
		Memory:       AutoMemory,
		Account:      "000000000000",
		Region:       "us-east-1",
		DrainTimeout: 10 * time.Second,
		Limits: Limits{
			Mode: NoLimits, Streams: 1000, Shards: 10000, RequestBody: 16 << 20,
			Connections: 8192, ConnectionsPerAddress: 2048,
			RequestsPerAddress: 100_000, RequestsPerKey: 100_000,
			StreamBytes: Share{Percent: 80}, LowWater: AutoLowWater(),
		},
		OnDemand: defaultOnDemand(),

		TLS:     defaultTLS(),
		Audit:   defaultAudit(),
		Metrics: Metrics{From: AutoPeers},
		Log:     Log{Level: slog.LevelInfo, Format: FormatText, Slow: 5 * time.Second},
	}
}

// MemoryBytes returns the memory budget in bytes, with AutoMemory resolved for this machine.
func (c Config) MemoryBytes() int64 {
	if c.Memory != AutoMemory {
		return int64(c.Memory)
	}
	return max(machineMemory()/4, minMemory)
}

// WALBytes returns the size of the write-ahead log in bytes, or auto where the configuration leaves it
// open.
func (c Config) WALBytes(auto Size) int64 {
	if c.WALSize != AutoWAL {
		return int64(c.WALSize)
	}
	return int64(auto)
}

// KeyError is a value that a key cannot have.
type KeyError struct {
	// Key is the key's dotted name.
	Key string
	// Source says where the value came from, "" when it did not come from outside.
	Source string
	// Err says what is wrong with it.
	Err error
}

// Error names the key, what is wrong and where the value came from.
func (e *KeyError) Error() string {
	if e.Source == "" {
		return fmt.Sprintf("%s: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("%s: %v (from %s)", e.Key, e.Err, e.Source)
}

// Unwrap returns what is wrong with the value.
func (e *KeyError) Unwrap() error { return e.Err }

// Validate returns a *KeyError for the first key whose value cannot work, or nil.
func (c Config) Validate() error {
	if err := c.validateValues(); err != nil {
		return err
	}
	return firstOf(slices.Concat(tlsRelations(c.TLS), auditRelations(c.Audit)))
}

// validateValues is Validate for each value by itself: some work only together with others.
func (c Config) validateValues() error {
	return firstOf(slices.Concat([]check{
		{"listen", checkListen(c.Listen)},
		{"data", checkData(c.Data)},
		{"wal-size", checkWAL(c.WALSize)},
		{"memory", checkMemory(c.Memory)},
		{"transition-delay", checkDelay(c.TransitionDelay)},
		{"account", checkAccount(c.Account)},
		{"region", checkRegion(c.Region)},
		{"node-key", checkNodeKey(c.NodeKey)},
		{"drain-timeout", checkDelay(c.DrainTimeout)},
		{"limits.streams", checkCount(c.Limits.Streams)},
		{"limits.shards", checkCount(c.Limits.Shards)},
		{"limits.request-body", atLeast(c.Limits.RequestBody, minRequestBody)},
		{"limits.connections", checkCount(c.Limits.Connections)},
		{"limits.connections-per-address", checkCount(c.Limits.ConnectionsPerAddress)},
		{"limits.requests-per-address", checkRate(c.Limits.RequestsPerAddress)},
		{"limits.requests-per-key", checkRate(c.Limits.RequestsPerKey)},
		{"limits.stream-bytes", checkQuota(c.Limits.StreamBytes)},
		{"limits.low-water", checkLowWater(c.Limits.LowWater)},
		{"metrics.from", oneOf(c.Metrics.From, AutoPeers, AnyPeer, LoopbackPeers, NoPeer)},
		{"controls.origins", checkOrigins(c.Controls.Origins)},
		{"log.format", checkFormat(c.Log.Format)},
		{"log.slow", checkDelay(c.Log.Slow)},
	}, limitChecks(c.Limits.Mode, c.OnDemand), tlsChecks(c.TLS), auditChecks(c.Audit)))
}

// check is what is wrong with the value of a key, if anything is.
type check struct {
	key string
	err error
}

func firstOf(checks []check) error {
	for _, c := range checks {
		if c.err != nil {
			return &KeyError{Key: c.key, Err: c.err}
		}
	}
	return nil
}

func checkListen(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || strings.ContainsFunc(host, notInHost) {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%q has no port between 0 and 65535", addr)
	}
	return nil
}

// notInHost refuses what no host name or address has. Shells evaluate what is made of it.
func notInHost(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-_:%", c))
}

func checkData(dir string) error {
	if strings.ContainsRune(dir, 0) {
		return fmt.Errorf("%q is not a directory's name", dir)
	}
	return nil
}

func checkWAL(s Size) error {
	if s != AutoWAL && (s < MinWAL || s > maxWAL) {
		return fmt.Errorf("%s is not between %s and %s", s, MinWAL, maxWAL)
	}
	return nil
}

func checkMemory(s Size) error {
	if s != AutoMemory && s < minMemory {
		return fmt.Errorf("%s is less than %s", s, Size(minMemory))
	}
	return nil
}

func checkDelay(d time.Duration) error {
	if d < 0 || d > time.Hour {
		return fmt.Errorf("%s is not between 0s and 1h", d)
	}
	return nil
}

func checkAccount(s string) error {
	if len(s) != 12 || strings.Trim(s, "0123456789") != "" {
		return fmt.Errorf("%q is not 12 digits", s)
	}
	return nil
}

func checkRegion(s string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyz0123456789-"
	if s == "" || len(s) > 64 || strings.Trim(s, allowed) != "" {
		return fmt.Errorf("%q is not a region name such as us-east-1", s)
	}
	return nil
}

// checkNodeKey refuses what cannot name a key, and what might be one: a setting is printed.
func checkNodeKey(name string) error {
	if variable, ok := strings.CutPrefix(name, "env:"); ok {
		if variable == "" || strings.ContainsFunc(variable, notInVariable) {
			return fmt.Errorf("%q does not name an environment variable", name)
		}
		return nil
	}
	if scheme, rest, ok := strings.Cut(name, "://"); ok {
		return checkKMS(scheme, rest)
	}
	if strings.ContainsRune(name, 0) {
		return fmt.Errorf("%q is not a file's name", name)
	}
	if key, err := base64.StdEncoding.DecodeString(name); err == nil && len(key) == 32 || strings.HasPrefix(name, "headrace-node-key") {
		return errors.New("this is a key, not where one is: name a file, or env: and a variable")
	}
	return nil
}

// checkKMS refuses the URI of a KMS that is not served, and what might be credentials, which it does not
// repeat.
func checkKMS(scheme, rest string) error {
	switch {
	case strings.ContainsAny(rest, "@?#") || strings.ContainsFunc(rest, func(c rune) bool { return c <= ' ' || c > '~' }):
		return errors.New("the URI of a KMS's key holds nothing but the key's name: credentials belong in the environment")
	case scheme != "aws-kms" && scheme != "hcvault":
		return errors.New("this is the URI of no KMS that is served: want aws-kms:// or hcvault://")
	}
	return nil
}

func notInVariable(c rune) bool {
	return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_')
}

func checkCount(n int) error {
	if n < 1 {
		return fmt.Errorf("%d is less than 1", n)
	}
	return nil
}

func checkRate(n int) error {
	if n < 0 {
		return fmt.Errorf("%d is less than 0", n)
	}
	return nil
}

func checkFormat(s string) error {
	if s != FormatText && s != FormatJSON {
		return fmt.Errorf("%q is neither %s nor %s", s, FormatText, FormatJSON)
	}
	return nil
}
